"""A row is corrected in a window of its own; a copy is saved, the user's file stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QMessageBox, QPushButton
from pytestqt.qtbot import QtBot

from studio.core.events.types import (
    CopyProgressed,
    CopySaved,
    DataProblemFound,
    RequestFailed,
    RowOpened,
    RowTried,
)
from studio.core.jobs.orders import CancelCopy, OpenRow, SaveCopy, ShowRow, TryRow
from studio.gui.app import Studio
from studio.gui.pages.data.correction.corrector import build_entry, find_copy_path
from studio.gui.pages.data.correction.dialog import CorrectionDialog
from studio.gui.pages.data.correction.field_editors import (
    GrowingText,
    JsonField,
    TextField,
    TurnsField,
    build_field,
)
from studio.gui.pages.data.correction.row_form import find_labels
from studio.gui.pages.data.page import DataPage
from tests.gui.pages.surveying import LIMITS, ROW, SURVEYED, Child, open_survey

TURNS = [
    {"role": "user", "content": "Hi", "name": "Ann"},
    {"role": "assistant", "content": None, "tool_calls": [{"name": "look"}]},
]
VALUES: dict[str, Any] = {"messages": TURNS, "id": 7}
OPENED = RowOpened(
    request=0,
    files="train",
    source=0,
    index=4,
    place="rows.jsonl, line 5",
    format="messages",
    columns={"messages": "messages"},
    values=json.dumps(VALUES),
)


@pytest.fixture
def page(studio: Studio, tmp_path: Path) -> DataPage:
    """The page with a file and a model."""
    studio.window.show_page("data")
    studio.window.show()
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n')
    entry = {"source": str(path), "weight": 2.0, "split": "train"}
    studio.context.draft.set_values({"base.model": "some/model", "data.train": [entry]})
    page = studio.window.get_page("data")
    assert isinstance(page, DataPage)
    return page


@pytest.fixture
def child(page: DataPage, studio: Studio, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot) -> Child:
    child = open_survey(page, studio, monkeypatch, qtbot)
    child.say(SURVEYED)
    page._tabs.xray.ask_again()
    child.say(ROW.model_copy(update={"index": 4}))
    return child


def open_row(page: DataPage, studio: Studio, child: Child) -> CorrectionDialog:
    page._tabs.xray._correct.click()
    child.say(OPENED)
    (dialog,) = studio.window.findChildren(CorrectionDialog)
    return dialog


def type_text(dialog: CorrectionDialog, name: str, text: str) -> None:
    # An earlier row's editors may not be deleted yet; the newest come last.
    fields = [one for one in dialog.findChildren(GrowingText) if one.accessibleName() == name]
    fields[-1].setPlainText(text)
    dialog.flush()


def press(studio: Studio, words: str) -> None:
    for box in studio.window.findChildren(QMessageBox):
        for button in box.findChildren(QPushButton):
            if button.text() == words:
                button.click()
                return
    raise AssertionError(f"no button {words}")


def test_a_correction_becomes_a_copy_that_can_be_taken_back(
    page: DataPage, studio: Studio, child: Child
) -> None:
    original = studio.context.draft.get_value("data.train")[0]
    dialog = open_row(page, studio, child)
    assert child.last(OpenRow).index == 4
    assert json.loads(child.last(TryRow).values) == VALUES
    assert not dialog._save.isEnabled()
    type_text(dialog, "What is said in turn 1", "Hello")
    changed = {**VALUES, "messages": [{**TURNS[0], "content": "Hello"}, TURNS[1]]}
    assert json.loads(child.last(TryRow).values) == changed
    child.say(RowTried(request=0, row=ROW))
    assert dialog._result.row is not None
    assert dialog._state.text() == "corrected"
    dialog._save.click()
    wish = child.last(SaveCopy)
    assert {index: json.loads(text) for index, text in wish.changes.items()} == {4: changed}
    assert wish.path == str(studio.context.home.folder / "corrected" / "rows-corrected.jsonl")
    child.say(CopyProgressed(request=0, rows=200))
    assert dialog._target.text() == "200 rows written …"
    child.say(CopySaved(request=0, path=wish.path, rows=250, changed_rows=1))
    assert studio.context.draft.get_value("data.train") == [original]
    press(studio, "Use the copy")
    (entry,) = studio.context.draft.get_value("data.train")
    assert entry == {"source": wish.path, "weight": 2.0}
    assert "rows-corrected.jsonl is learnt from now" in page._notice._message.text().replace(
        "\u200b", ""
    )
    page._notice.action_requested.emit()
    assert studio.context.draft.get_value("data.train") == [original]
    assert page._notice.isHidden()


def test_the_original_is_kept_where_the_user_wants_so(
    page: DataPage, studio: Studio, child: Child
) -> None:
    original = studio.context.draft.get_value("data.train")
    dialog = open_row(page, studio, child)
    type_text(dialog, "id", "8")
    dialog._save.click()
    child.say(CopySaved(request=0, path="/x/copy.jsonl", rows=2, changed_rows=1, skipped_rows=1))
    press(studio, "Keep the original")
    assert studio.context.draft.get_value("data.train") == original


def test_what_is_not_right_is_told_and_not_saved(
    page: DataPage, studio: Studio, child: Child
) -> None:
    dialog = open_row(page, studio, child)
    type_text(dialog, "id", "{oops")
    assert "id is not valid JSON" in dialog._about.text()
    assert not dialog._save.isEnabled()
    type_text(dialog, "id", "9")
    child.say(RowTried(request=0, message="Turn 2 (assistant) has no content."))
    assert dialog._about.text().startswith("Turn 2")
    assert not dialog._save.isEnabled()
    type_text(dialog, "id", "7")
    child.say(RowTried(request=0, row=ROW))
    assert dialog._state.text() == "as in the file"
    assert dialog.changes == {}
    dialog.reject()


def test_several_rows_are_corrected_before_the_copy_is_saved(
    page: DataPage, studio: Studio, child: Child
) -> None:
    dialog = open_row(page, studio, child)
    type_text(dialog, "id", "8")
    child.say(RowTried(request=0, row=ROW))
    dialog._forth.click()
    assert child.last(ShowRow).rank == 1
    child.say(ROW.model_copy(update={"rank": 1, "index": 6, "place": "rows.jsonl, line 7"}))
    assert child.last(OpenRow).index == 6
    child.say(OPENED.model_copy(update={"index": 6, "place": "rows.jsonl, line 7"}))
    assert dialog._state.text() == "as in the file"
    type_text(dialog, "id", "10")
    assert sorted(dialog.changes) == [4, 6]
    assert "(2 rows)" in dialog._save.text()
    dialog._save.click()
    dialog._cancel.click()
    assert isinstance(child.asked[-1], CancelCopy)
    assert dialog.isVisible()
    dialog._save.click()
    failed = RequestFailed(
        request=child.last(SaveCopy).request, code="disk_full", message="No space.", remedy="x"
    )
    child.job.events_arrived.emit([failed])
    assert dialog._notice._message.text() == "No space."
    dialog._forth.click()
    other = {"rank": 2, "source": 1, "place": "other.jsonl, line 1"}
    child.say(ROW.model_copy(update=other))
    assert "belongs to another file" in dialog._notice._message.text().replace("\u200b", "")
    dialog._changes.clear()
    dialog.reject()


def test_a_check_opens_its_first_row_to_be_corrected(
    page: DataPage, studio: Studio, child: Child
) -> None:
    problem = DataProblemFound(
        code="email_address", message="2", rows=2, places=("rows.jsonl, line 1",), is_listed=True
    )
    child.say(problem, LIMITS)
    page._tabs.checks.correction_wanted.emit("email_address")
    assert child.last(ShowRow).finding == "email_address"
    child.say(ROW.model_copy(update={"index": 9}))
    assert child.last(OpenRow).index == 9
    (dialog,) = studio.window.findChildren(CorrectionDialog)
    dialog.reject()


def test_fields_keep_what_they_are_not_about(qtbot: QtBot) -> None:
    values: list[Any] = ["text", 5, None, {"a": [1]}, TURNS, [{"from": "human", "value": "x"}]]
    kinds = [TextField, JsonField, JsonField, JsonField, TurnsField, TurnsField]
    for value, kind in zip(values, kinds, strict=True):
        field = build_field("name", value)
        qtbot.addWidget(field)
        assert type(field) is kind
        assert field.read_value() == value
    turns = build_field("messages", [{"role": "user", "content": "x"}])
    qtbot.addWidget(turns)
    assert isinstance(turns, TurnsField)
    turns._on_add_clicked()
    assert turns.read_value()[1] == {"role": "assistant", "content": ""}
    turns._on_row_removed(turns._rows[0])
    turns._on_row_removed(turns._rows[0])
    with pytest.raises(ValueError, match="at least one turn"):
        turns.read_value()


def test_names_of_copies_and_entries(studio: Studio) -> None:
    home = studio.context.home
    first = find_copy_path(home, "rows.jsonl.gz")
    assert first.name == "rows-corrected.jsonl"
    first.parent.mkdir(parents=True)
    first.touch()
    assert find_copy_path(home, first.name).name == "rows-corrected-2.jsonl"
    entry = {"source": "hub:a/b", "revision": "c", "split": "test", "format": "alpaca", "limit": 3}
    assert build_entry(entry, "/x") == {"source": "/x", "format": "alpaca", "limit": 3}
    pattern = {"prompt": "{title}: {body}", "answer": "reply"}
    labels = find_labels({"reply": "", "body": "", "n": 1, "title": ""}, "prompt", pattern)
    assert labels == {"body": "Prompt", "title": "Prompt", "reply": "Answer"}
