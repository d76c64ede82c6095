from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pytestqt.modeltest import ModelTester
from pytestqt.qtbot import QtBot

from studio.core.errors import DatasetInvalid, FileUnusable
from studio.core.events.types import RowsPeeked
from studio.core.jobs.orders import PeekOrder
from studio.core.runs.record import RunFailure, RunRecord
from studio.core.units import format_bytes
from studio.gui.app import Studio
from studio.gui.bridge import raw_rows
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.raw_rows import CHILD_ONLY, count_lines, load_raw_rows, show_cell
from studio.gui.pages.data import raw_view
from studio.gui.pages.data.files_card import describe_source, describe_validation
from studio.gui.pages.data.page import DataPage
from studio.gui.pages.data.source_dialog import SourceDialog, ValidationDialog
from studio.gui.widgets.raw_table import RawTableModel


def write_rows(path: Path, count: int = 3) -> Path:
    rows = [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(count)]
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    return path


@pytest.fixture
def page(studio: Studio, qtbot: QtBot) -> DataPage:
    studio.window.show_page("data")
    studio.window.show()
    page = studio.window.get_page("data")
    assert isinstance(page, DataPage)
    return page


def test_rows_are_read_and_counted(tmp_path: Path) -> None:
    raw = load_raw_rows(write_rows(tmp_path / "rows.jsonl", 120), limit=10)
    assert raw.columns == ("prompt", "completion")
    assert raw.rows[1] == ("question 1", "answer 1")
    assert (len(raw.rows), raw.row_count) == (10, 120)


def test_a_json_array_is_read_like_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"a": 1}, {"b": None}, 7], indent=2))
    raw = load_raw_rows(path)
    assert raw.columns == ("a", "b", "row")
    assert raw.rows == (("1", "", ""), ("", "", ""), ("", "", "7"))


def test_broken_lines_are_named_and_the_others_shown(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": \n{"a": 2}\n')
    raw = load_raw_rows(path)
    assert raw.rows == (("1",), ("2",))
    assert raw.broken == ("rows.jsonl, line 3, column 7 is not valid JSON: Expecting value.",)
    path.write_text("{broken")
    with pytest.raises(DatasetInvalid, match="line 1"):
        load_raw_rows(path)


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "q;a\n1;2\n"), ("a.tsv", "q\ta\n1\t2\n"), ("a.txt", "1\n\n2")]
)
def test_tables_and_texts_are_shown_too(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    raw = load_raw_rows(path)
    wanted = (("1",), ("2",)) if name.endswith("txt") else (("1", "2"),)
    assert raw.rows == wanted


def test_packed_files_are_left_to_a_child(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(DatasetInvalid) as caught:
        load_raw_rows(path)
    assert caught.value.code == CHILD_ONLY


@pytest.mark.parametrize("content", ["", "  \n \n"])
def test_an_empty_file_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(DatasetInvalid, match="empty"):
        load_raw_rows(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable):
        load_raw_rows(tmp_path / "nothing.jsonl")


def test_counting_stops_when_nobody_waits(tmp_path: Path) -> None:
    assert count_lines(write_rows(tmp_path / "rows.jsonl"), lambda: True) is None


def test_conversations_are_shown_turn_by_turn() -> None:
    turns = [{"role": "user", "content": "Hi"}, {"from": "gpt", "value": "Arr"}]
    assert show_cell(turns) == "user: Hi\ngpt: Arr"
    assert show_cell([{"x": 1}]) == '{"x": 1}'
    assert len(show_cell("long " * 1000)) < 700


def test_the_table_keeps_qts_rules(tmp_path: Path, qtmodeltester: ModelTester) -> None:
    model = RawTableModel()
    model.replace(load_raw_rows(write_rows(tmp_path / "rows.jsonl")))
    qtmodeltester.check(model)


def test_dropped_files_become_training_data_once(
    page: DataPage, studio: Studio, qtbot: QtBot, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "rows.jsonl")
    page.take_paths([str(path), str(tmp_path / "no such file")])
    page.take_paths([str(path)])
    assert studio.context.draft.get_value("data.train") == [{"source": str(path)}]
    qtbot.waitUntil(lambda: page._files._rows[0]._chip.text() == "3 rows")
    assert page._stack.currentIndex() == 1
    assert page._tabs._table.model().rowCount() == 3


def test_a_long_file_is_shown_before_its_rows_are_counted(
    page: DataPage, studio: Studio, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_rows, "_HEAD_BYTES", 100)
    may_count = threading.Event()

    def count_when_allowed(path: Path, is_cancelled: Callable[[], bool]) -> int | None:
        assert may_count.wait(20)
        return count_lines(path, is_cancelled)

    monkeypatch.setattr(raw_view, "count_lines", count_when_allowed)
    path = write_rows(tmp_path / "rows.jsonl", 1200)
    page.take_paths([str(path)])
    chip = page._files._rows[0]._chip
    qtbot.waitUntil(lambda: page._tabs._table.model().rowCount() > 0)
    assert chip.text() == format_bytes(path.stat().st_size)
    may_count.set()
    qtbot.waitUntil(lambda: chip.text() == "1,200 rows")


def test_the_rows_of_a_folder_are_those_of_its_first_file(
    page: DataPage, qtbot: QtBot, tmp_path: Path
) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("one\ntwo\nthree\n")
    (folder / "b.md").write_text("more\n")
    page.take_paths([str(folder)])
    qtbot.waitUntil(lambda: page._files._rows[0]._chip.text() == "first file: 3 lines")


def test_a_broken_file_is_told_in_place(
    page: DataPage, studio: Studio, qtbot: QtBot, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{broken")
    page.take_paths([str(path)])
    qtbot.waitUntil(lambda: page._files._rows[0]._chip.text() == "cannot be read")
    assert "line 1" in page._tabs._raw_notice._message.text().replace("\u200b", "")
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text('{"a": 1}\n{broken\n' + '{"a": 1}\n' * 3)
    page._tabs.show_rows(load_raw_rows(mixed))
    told = page._tabs._raw_notice._message.text().replace("\u200b", "")
    assert told.startswith("Of the first 5 rows 1 cannot be read. mixed.jsonl, line 2, column 2")


def test_taking_the_last_file_away_brings_the_offers_back(
    page: DataPage, studio: Studio, tmp_path: Path
) -> None:
    page.take_paths([str(write_rows(tmp_path / "rows.jsonl"))])
    page._files._rows[0].removed.emit()
    assert studio.context.draft.get_value("data.train") == []
    assert page._stack.currentIndex() == 0
    assert not page._next.isEnabled()


def test_the_format_of_a_file_is_kept(page: DataPage, studio: Studio, tmp_path: Path) -> None:
    page.take_paths([str(write_rows(tmp_path / "rows.jsonl"))])
    page._files._rows[0].format_chosen.emit("prompt")
    assert studio.context.draft.get_value("data.train")[0]["format"] == "prompt"


def test_less_common_settings_are_applied_together(
    page: DataPage, studio: Studio, tmp_path: Path
) -> None:
    page.take_paths([str(write_rows(tmp_path / "rows.jsonl"))])
    page._files._rows[0].more_requested.emit()
    dialog = studio.window.findChild(SourceDialog)
    dialog._on_row_edited("data.train[].limit", 2)
    dialog._on_row_edited("data.train[].weight", 2.0)
    assert "limit" not in studio.context.draft.get_value("data.train")[0]
    dialog._on_apply_clicked()
    source = studio.context.draft.get_value("data.train")[0]
    assert (source["limit"], source["weight"]) == (2, 2.0)
    assert describe_source(source).startswith("2 times as often · first 2 rows · ")


def test_starter_data_without_a_model_brings_the_starter_model(
    page: DataPage, studio: Studio
) -> None:
    page._offers.starter_chosen.emit("json")
    assert studio.context.starter is not None
    assert studio.context.draft.recipe is not None
    assert studio.context.draft.get_value("base.model") == str(studio.context.starter.model_folder)


def test_ones_own_file_takes_the_place_of_the_starters_and_is_shown(
    page: DataPage, studio: Studio, qtbot: QtBot, tmp_path: Path
) -> None:
    page._offers.starter_chosen.emit("json")
    qtbot.waitUntil(lambda: page._tabs._table.model().rowCount() > 2)
    page.take_paths([str(write_rows(tmp_path / "rows.jsonl", 2))])
    starter, own = studio.context.draft.get_value("data.train")
    assert starter["enabled"] is False
    assert own == {"source": str(tmp_path / "rows.jsonl")}
    qtbot.waitUntil(lambda: page._tabs._table.model().rowCount() == 2)


def test_a_file_is_switched_off_and_stays_in_the_list(
    page: DataPage, studio: Studio, tmp_path: Path
) -> None:
    page.take_paths([str(write_rows(tmp_path / "rows.jsonl"))])
    page._files._rows[0].switched.emit(False)
    source = studio.context.draft.get_value("data.train")[0]
    assert source["enabled"] is False
    assert "not in use" in describe_source(source)


def test_what_is_held_back_is_told_and_changed(
    page: DataPage, studio: Studio, tmp_path: Path
) -> None:
    page.take_paths([str(write_rows(tmp_path / "rows.jsonl"))])
    assert "5 %" in page._files._held.text()
    page._files._change.click()
    dialog = studio.window.findChild(ValidationDialog)
    dialog._on_row_edited("data.validation", {"fraction": 0.0})
    dialog._on_apply_clicked()
    assert studio.context.draft.get_value("data.validation") == {"fraction": 0.0}
    assert page._files._held.text().startswith("Validation: none")
    assert describe_validation([{"source": "/a/b.jsonl"}]) == "Validation: b.jsonl."


def test_packed_rows_are_read_by_a_child(
    page: DataPage, studio: Studio, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = LiveJob(studio.context.feed.store, lambda: None)
    orders: list[PeekOrder] = []
    monkeypatch.setattr(studio.context.feed, "start_job", lambda order: orders.append(order) or job)
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "train.parquet").write_bytes(b"PAR1")
    page.take_paths([str(folder)])
    qtbot.waitUntil(lambda: bool(orders))
    assert (orders[0].source, orders[0].split) == (str(folder), "train")
    assert "Reading the first rows" in page._tabs._raw_notice._message.text()
    rows = (json.dumps({"q": "a", "n": 1}), json.dumps({"q": "b", "n": 2}))
    job.events_arrived.emit([RowsPeeked(rows=rows, row_count=2, size_bytes=9)])
    assert page._files._rows[0]._chip.text() == "2 rows"
    assert page._tabs._table.model().index(1, 0).data() == "b"
    page._files._rows[0].format_chosen.emit("prompt")
    assert page._files._rows[0]._chip.text() == "2 rows"
    failure = RunFailure(code="x", message="Damaged.", remedy="Copy it again.")
    job.ended.emit(RunRecord(status="failed", failure=failure))
    assert page._tabs._raw_notice._message.text() == "Damaged."
