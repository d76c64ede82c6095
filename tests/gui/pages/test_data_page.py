from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytestqt.modeltest import ModelTester
from pytestqt.qtbot import QtBot

from studio.core.errors import DatasetInvalid, FileUnusable
from studio.core.events.types import DataProblemFound, RowPreviewed
from studio.core.runs.record import RunFailure, RunRecord
from studio.gui.app import Studio
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.raw_rows import count_lines, load_raw_rows, show_cell
from studio.gui.pages.data.page import DataPage
from studio.gui.pages.data.raw_table import RawTableModel
from studio.gui.pages.data.source_dialog import SourceDialog
from studio.gui.pages.data.token_view import TokenView, describe_row, show_token

ROW = RowPreviewed(
    row=1,
    source="rows.jsonl",
    ids=(1, 2, 3, 4),
    texts=("<user>", "Hi\n", "Arr", ""),
    supervised=(False, False, True, True),
)


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


def test_a_broken_line_is_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": \n')
    with pytest.raises(DatasetInvalid, match="line 3"):
        load_raw_rows(path)


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
    page._add([str(path), str(tmp_path / "no such file")])
    page._add([str(path)])
    assert studio.context.draft.get_value("data.train") == [{"source": str(path)}]
    qtbot.waitUntil(lambda: page._files._rows[0]._chip.text() == "3 rows")
    assert page._stack.currentIndex() == 1
    assert page._tabs._table.model().rowCount() == 3


def test_a_broken_file_is_told_in_place(
    page: DataPage, studio: Studio, qtbot: QtBot, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{broken")
    page._add([str(path)])
    qtbot.waitUntil(lambda: page._files._rows[0]._chip.text() == "cannot be read")
    assert "line 1" in page._tabs._raw_notice._message.text().replace("\u200b", "")


def test_taking_the_last_file_away_brings_the_offers_back(
    page: DataPage, studio: Studio, tmp_path: Path
) -> None:
    page._add([str(write_rows(tmp_path / "rows.jsonl"))])
    page._files._rows[0].removed.emit()
    assert studio.context.draft.get_value("data.train") == []
    assert page._stack.currentIndex() == 0
    assert not page._next.isEnabled()


def test_the_format_of_a_file_is_kept(page: DataPage, studio: Studio, tmp_path: Path) -> None:
    page._add([str(write_rows(tmp_path / "rows.jsonl"))])
    page._files._rows[0].format_chosen.emit("prompt")
    assert studio.context.draft.get_value("data.train")[0]["format"] == "prompt"


def test_less_common_settings_are_applied_together(
    page: DataPage, studio: Studio, tmp_path: Path
) -> None:
    page._add([str(write_rows(tmp_path / "rows.jsonl"))])
    page._files._rows[0].more_requested.emit()
    dialog = studio.window.findChild(SourceDialog)
    dialog._on_row_edited("data.train[].limit", 2)
    dialog._on_row_edited("data.train[].columns", {"prompt": "q"})
    assert "limit" not in studio.context.draft.get_value("data.train")[0]
    dialog._on_apply_clicked()
    source = studio.context.draft.get_value("data.train")[0]
    assert (source["limit"], source["columns"]) == (2, {"prompt": "q"})


def test_starter_data_without_a_model_brings_the_starter_model(
    page: DataPage, studio: Studio
) -> None:
    page._offers.starter_chosen.emit("json")
    assert studio.context.starter is not None
    assert studio.context.draft.recipe is not None
    assert studio.context.draft.get_value("base.model") == str(studio.context.starter.model_folder)


def test_the_preview_says_that_it_needs_a_model(
    page: DataPage, qtbot: QtBot, tmp_path: Path
) -> None:
    page._add([str(write_rows(tmp_path / "rows.jsonl"))])
    assert page._tabs._start._title.text() == "A model is needed first"
    with qtbot.waitSignal(page.page_requested) as told:
        page._tabs._start.action_requested.emit()
    assert told.args == ["model"]


@pytest.fixture
def job(page: DataPage, studio: Studio, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot) -> LiveJob:
    """The preview job of the starter's data; it is never really started."""
    job = LiveJob(studio.context.feed.store, lambda: None)
    monkeypatch.setattr(studio.context.feed, "start_job", lambda *_: job)
    page._offers.starter_chosen.emit("pirate")
    page._tabs._start.action_requested.emit()
    return job


def test_the_preview_shows_rows_and_problems_of_its_job(page: DataPage, job: LiveJob) -> None:
    job.events_arrived.emit([ROW, DataProblemFound(code="cut", message="Cut.")])
    assert page._tabs._stack.currentWidget() is page._tabs._tokens
    assert page._tabs._problems.count() == 1


def test_a_preview_that_fails_is_told(page: DataPage, job: LiveJob) -> None:
    failure = RunFailure(code="x", message="No template.", remedy="Choose another.")
    job.ended.emit(RunRecord(status="failed", failure=failure))
    assert page._tabs._start._title.text() == "The preview did not work"
    assert page._tabs._problems.count() == 1


def test_a_preview_that_was_killed_is_told(page: DataPage, job: LiveJob) -> None:
    job.ended.emit(RunRecord(status="interrupted"))
    assert page._tabs._start._action.text() == "Try again"


def test_other_data_drops_the_preview(page: DataPage, studio: Studio, job: LiveJob) -> None:
    job.events_arrived.emit([ROW])
    job.is_over = True
    studio.context.draft.set_value("data.supervise", "everything")
    assert page._tabs._stack.currentWidget() is page._tabs._start
    job.events_arrived.emit([ROW])
    assert page._tabs._stack.currentWidget() is page._tabs._start


def test_tokens_are_shown_with_what_is_trained(qtbot: QtBot) -> None:
    view = TokenView()
    qtbot.addWidget(view)
    view.add_row(ROW)
    assert view._text.toPlainText() == "Row 1: 4 tokens, 2 trained\n<user>Hi↵\nArr·"
    assert view._count.text() == "1 rows, 4 tokens, 50 % trained"


def test_signs_that_cannot_be_seen_are_drawn() -> None:
    assert show_token("a\n") == "a↵\n"
    assert show_token("") == "·"
    assert describe_row(ROW.model_copy(update={"truncated_tokens": 9})).endswith("9 cut")


def test_problems_of_the_data_are_listed(page: DataPage) -> None:
    page._tabs.show_problem(
        DataProblemFound(code="cut", message="Rows are too long.", rows=12, is_fatal=False)
    )
    assert page._tabs._problems.count() == 1
    page._tabs.show_ready()
    assert page._tabs._problems.count() == 0
