"""Rows of a run are read again from the user's file, without any model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.core.events.types import RowRead, RunFinished, RunStopped
from studio.core.jobs.orders import ReadRows, ReadRowsOrder, RowPlace, Stop
from studio.core.runs.layout import RunLayout
from studio.engine.data.digest import digest_row
from studio.engine.data.read import open_source
from studio.engine.jobs import read_rows
from tests.engine.tiny_run import ScriptedControl, build_run, of_type


@pytest.fixture
def run(tmp_path: Path, tiny_chats: Path) -> RunLayout:
    data = tmp_path / "chats.jsonl"
    data.write_bytes(tiny_chats.read_bytes())
    return build_run(tmp_path / "run", tmp_path / "no-base", data)


def _places(run: RunLayout) -> list[RowPlace]:
    from studio.core.runs.data_of_run import load_run_data

    settings, folder = load_run_data(run.folder)
    opened = open_source(settings.train[0], folder)
    return [
        RowPlace(
            document=50 + index,
            source=0,
            index=index,
            number=row.number,
            line=row.line or 0,
            mark=digest_row(record).key.hex(),
        )
        for index, (row, record) in enumerate(opened.iter_records())
    ]


def _read(run: RunLayout, order: ReadRowsOrder, control: ScriptedControl) -> list[RowRead]:
    events = []
    for event in read_rows.run(order, run, control):
        events.append(event)
        control.seen.append(event)
    assert isinstance(events[-1], RunStopped if order.stays else RunFinished)
    return of_type(events, RowRead)


def test_rows_are_read_in_any_order_with_prompt_and_answer(run: RunLayout) -> None:
    places = _places(run)
    order = ReadRowsOrder(run=str(run.folder), rows=(places[5], places[2]))
    found = _read(run, order, ScriptedControl(run))
    assert [one.document for one in found] == [55, 52]
    assert found[0].prompt.endswith("?")
    assert found[0].answer.startswith("It is ")
    assert found[0].place == "chats.jsonl, line 6"
    assert json.loads(found[0].written)["messages"][1]["content"] == found[0].answer
    assert not any(one.is_changed or one.message for one in found)


def test_more_rows_are_read_until_somebody_ends_it(run: RunLayout) -> None:
    places = _places(run)
    control = ScriptedControl(run)
    control.at(lambda _: True, ReadRows(rows=(places[1],)))
    control.at(lambda events: bool(of_type(events, RowRead)), ReadRows(rows=(places[4],)))
    control.at(lambda events: len(of_type(events, RowRead)) == 2, Stop())
    found = _read(run, ReadRowsOrder(run=str(run.folder), stays=True), control)
    assert [one.document for one in found] == [51, 54]


def test_a_changed_file_is_told_row_by_row(run: RunLayout) -> None:
    places = _places(run)
    path = run.folder.parent / "chats.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace("It is", "It was")
    path.write_text("\n".join(lines[:3]) + "\n")
    order = ReadRowsOrder(run=str(run.folder), rows=(places[0], places[1], places[9]))
    same, other, gone = _read(run, order, ScriptedControl(run))
    assert not same.is_changed
    assert other.is_changed
    assert other.answer.startswith("It was")
    assert "fewer rows" in gone.message
    path.unlink()
    (missing,) = _read(
        run, ReadRowsOrder(run=str(run.folder), rows=places[:1]), ScriptedControl(run)
    )
    assert "does not exist" in missing.message
