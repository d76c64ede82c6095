"""What the survey finds reaches the panels, and what the user does there reaches the recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from studio.core.events.survey import FoundColumn, LayoutOption
from studio.core.events.types import (
    DataProblemFound,
    RequestFailed,
    SourceExamined,
    TemplateTried,
)
from studio.core.jobs.orders import LookAt, ShowRow, TryTemplate
from studio.core.runs.record import RunFailure, RunRecord
from studio.gui.app import Studio
from studio.gui.bridge.epoch_clock import EpochTime
from studio.gui.pages.data.lengths_panel import describe_cost
from studio.gui.pages.data.page import DataPage
from studio.gui.pages.data.tabs import CHECKS, COLUMNS, LEARNING, LENGTHS, RAW, XRAY
from studio.gui.widgets.buttons import Button
from tests.gui.pages.surveying import LIMITS, ROW, SURVEYED, Child, open_survey


@pytest.fixture
def page(studio: Studio, tmp_path: Path) -> DataPage:
    """The page with two files and a model."""
    studio.window.show_page("data")
    studio.window.show()
    sources = []
    for name in ("rows.jsonl", "other.jsonl"):
        (tmp_path / name).write_text('{"prompt": "a", "completion": "b"}\n')
        sources.append({"source": str(tmp_path / name)})
    studio.context.draft.set_values({"base.model": "some/model", "data.train": sources})
    page = studio.window.get_page("data")
    assert isinstance(page, DataPage)
    return page


@pytest.fixture
def child(page: DataPage, studio: Studio, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot) -> Child:
    """The child of the page's survey, with the X-ray open and a first look asked for."""
    return open_survey(page, studio, monkeypatch, qtbot)


def wait_for_look(child: Child, qtbot: QtBot, change: Callable[[], object]) -> dict[str, Any]:
    """Returns the data of the look that follows a change."""
    before = child.last(LookAt).request
    change()
    qtbot.waitUntil(lambda: child.last(LookAt).request > before)
    data: dict[str, Any] = child.last(LookAt).data
    return data


def test_without_a_model_the_way_out_is_shown(page: DataPage, studio: Studio, qtbot: QtBot) -> None:
    studio.context.draft.set_value("base.model", "")
    page._tabs.setCurrentIndex(XRAY)
    gate = page._tabs._gates[XRAY - 1]
    assert gate.empty._title.text() == "A model is needed first"
    with qtbot.waitSignal(page.page_requested) as told:
        gate.empty.action_requested.emit()
    assert told.args == ["model"]


def test_nothing_is_started_while_only_raw_rows_are_looked_at(
    page: DataPage, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio.context.feed, "start_job", lambda *_: pytest.fail("started"))
    page._tabs.setCurrentIndex(RAW)
    studio.context.draft.set_value("data.supervise", "everything")


def test_the_first_look_is_taken_at_once_and_a_later_one_after_typing(
    page: DataPage, studio: Studio, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    with monkeypatch.context() as patches:
        patches.setattr(qtbot, "waitUntil", lambda is_there: is_there() or pytest.fail("not yet"))
        child = open_survey(page, studio, monkeypatch, qtbot)
    for value in ("everything", "last_response"):
        studio.context.draft.set_value("data.supervise", value)
    assert [type(one) for one in child.asked] == [LookAt]
    qtbot.waitUntil(lambda: len(child.asked) > 1)
    assert [one.data["supervise"] for one in child.asked[1:]] == ["last_response"]


def test_a_row_is_walked_to_and_explained(page: DataPage, child: Child, qtbot: QtBot) -> None:
    child.say(SURVEYED)
    xray = page._tabs.xray
    child.say(ROW.model_copy(update={"rank": 0}))
    row_wish = [one for one in child.asked if isinstance(one, ShowRow)]
    assert row_wish
    page._view._on_row_shown("xray", ROW)
    assert "cut" in xray._about.text()
    assert not xray._back.isEnabled()
    xray._forth.click()
    assert child.last(ShowRow).rank == 1
    xray._finding.setCurrentIndex(xray._finding.findData("email_address"))
    xray._finding.activated.emit(1)
    xray._by.setCurrentIndex(xray._by.findData("most_cut"))
    xray._by.activated.emit(1)
    asked = child.last(ShowRow)
    assert (asked.rank, asked.finding, asked.by) == (0, "email_address", "most_cut")
    xray._number.setValue(3)
    assert child.last(ShowRow).rank == 2
    xray._text.moveCursor(xray._text.textCursor().MoveOperation.End)
    xray._text.moveCursor(xray._text.textCursor().MoveOperation.PreviousCharacter)
    assert "learnt: turn 2, assistant" in xray._token.text()


def test_a_row_is_left_out_and_taken_back(page: DataPage, studio: Studio, child: Child) -> None:
    child.say(SURVEYED)
    page._view._on_row_shown("xray", ROW)
    button = page._tabs.xray._leave_out
    button.click()
    assert studio.context.draft.get_value("data.exclude") == [ROW.mark]
    assert button.text() == "Take back"
    button.click()
    assert studio.context.draft.get_value("data.exclude") == []


def test_one_click_mends_what_a_check_found(
    page: DataPage, studio: Studio, child: Child, qtbot: QtBot
) -> None:
    child.say(
        SURVEYED,
        DataProblemFound(
            code="email_address",
            message="Rows that hold e-mail addresses: 2.",
            rows=2,
            places=("rows.jsonl, line 1", "rows.jsonl, line 2"),
            is_listed=True,
        ),
        DataProblemFound(
            code="broken_rows", message="1 row is broken.", rows=1, is_fatal=True, source=1
        ),
        DataProblemFound(code="pad_is_end", message="Harmless."),
        LIMITS,
    )
    cards = [page._tabs.checks._cards.itemAt(index).widget() for index in range(3)]
    assert [card._problem.code for card in cards] == ["broken_rows", "email_address", "pad_is_end"]
    assert page._tabs.tabText(CHECKS) == "Checks (2)"
    names = {button.text(): button for card in cards for button in _buttons(card)}
    names["Leave the broken rows out"].click()
    sources = studio.context.draft.get_value("data.train")
    assert [source.get("skip_broken", False) for source in sources] == [False, True]
    names["line 2"].click()
    assert page._tabs.currentIndex() == XRAY
    asked = child.last(ShowRow)
    assert (asked.finding, asked.rank) == ("email_address", 1)
    data = wait_for_look(child, qtbot, names["Leave these rows out"].click)
    assert data["leave_out"] == ["email_address"]


def _buttons(card: Any) -> list[Any]:
    return card.findChildren(Button)


def test_the_limit_is_dragged_or_typed(
    page: DataPage, studio: Studio, child: Child, qtbot: QtBot
) -> None:
    child.say(LIMITS)
    page._tabs.setCurrentIndex(LENGTHS)
    panel = page._tabs.lengths
    assert "every row stays whole" in describe_cost(LIMITS, LIMITS.longest_tokens)[0]
    none = (0.0,) * len(LIMITS.limits)
    texts = LIMITS.model_copy(update={"cut_rows_fraction": none, "lost_rows_fraction": none})
    assert "longer texts are divided" in describe_cost(texts, LIMITS.limits[0])[0]
    assert "10 % of the rows are left out" in describe_cost(LIMITS, 10)[0]
    assert describe_cost(LIMITS, 15)[0].startswith("With 15 tokens 38 % of the rows")
    panel._plot._line.setValue(30.4)
    panel._plot._line.sigDragged.emit(panel._plot._line)
    assert panel._box.value() == 30
    assert studio.context.draft.get_value("data.max_tokens") == "auto"
    panel._plot._line.sigPositionChangeFinished.emit(panel._plot._line)
    assert studio.context.draft.get_value("data.max_tokens") == 30
    QTest.keyClick(panel._plot, Qt.Key.Key_Right)
    assert studio.context.draft.get_value("data.max_tokens") == 31
    panel._auto.setChecked(True)
    assert studio.context.draft.get_value("data.max_tokens") == "auto"
    assert "40" in panel._auto.text()


def test_an_unclear_file_asks_which_column_is_what(
    page: DataPage, studio: Studio, child: Child, qtbot: QtBot
) -> None:
    columns = tuple(FoundColumn(name=name, kind="text", example="x") for name in ("de", "en"))
    option = LayoutOption(format="prompt", columns={"prompt": "de", "answer": "en"})
    child.say(
        SourceExamined(
            position=1,
            request=0,
            source="other.jsonl",
            certainty="unsure",
            found_columns=columns,
            options=(option,),
            message="The format was not recognised.",
        )
    )
    assert page._tabs.tabText(CHECKS) == "Checks (1)"
    card = page._tabs.checks._cards.itemAt(0).widget()
    _buttons(card)[0].click()
    panel = page._tabs.columns
    assert page._tabs.currentIndex() == COLUMNS
    panel._options.itemAt(0).widget().click()
    source = studio.context.draft.get_value("data.train")[1]
    assert (source["format"], source["columns"]) == ("prompt", option.columns)
    told = SourceExamined(
        position=1,
        request=0,
        source="other.jsonl",
        certainty="stated",
        format="prompt",
        columns=option.columns,
        found_columns=columns,
    )
    qtbot.waitUntil(lambda: len([one for one in child.asked if isinstance(one, LookAt)]) > 1)
    child.say(told, SURVEYED)
    line = panel._lines["prompt"]
    line.clear()
    QTest.keyClicks(line, "{de}: {en}")
    qtbot.waitUntil(
        lambda: studio.context.draft.get_value("data.train")[1]["columns"]["prompt"] == "{de}: {en}"
    )
    wish = [one for one in child.asked if isinstance(one, ShowRow)][-1]
    assert (wish.source, wish.row) == (1, 3) or wish.finding == ""


def test_a_template_is_edited_tried_and_used(
    page: DataPage, studio: Studio, child: Child, qtbot: QtBot
) -> None:
    page._tabs.setCurrentIndex(LEARNING)
    child.say(SURVEYED)
    panel = page._tabs.learning
    assert panel._editor.toPlainText() == "{{ messages }}"
    panel._edit.click()
    panel._editor.setPlainText("{{ oops")
    qtbot.waitUntil(lambda: child.last(TryTemplate).text == "{{ oops")
    child.say(TemplateTried(request=0, message="unexpected end", line=1))
    assert panel._about.text() == "Line 1: unexpected end"
    assert not panel._save.isEnabled()
    panel._editor.setPlainText("fine")
    qtbot.waitUntil(lambda: child.last(TryTemplate).text == "fine")
    child.say(TemplateTried(request=0, row=ROW))
    assert panel._result.row == ROW
    panel._save.click()
    path = Path(studio.context.draft.get_value("data.template"))
    assert path.read_text(encoding="utf-8") == "fine"
    assert path.is_relative_to(studio.context.home.folder)
    assert not panel.is_editing


def test_who_is_learnt_is_chosen_by_role(page: DataPage, studio: Studio, child: Child) -> None:
    page._tabs.setCurrentIndex(LEARNING)
    page._tabs.learning._roles["user"].click()
    assert studio.context.draft.get_value("data.supervise_roles") == ["user"]


def test_failures_are_told_and_can_be_tried_again(
    page: DataPage, child: Child, qtbot: QtBot
) -> None:
    request = child.last(LookAt).request
    failed = RequestFailed(request=request, code="x", message="No template.", remedy="Choose one.")
    child.job.events_arrived.emit([failed])
    gate = page._tabs._gates[XRAY - 1]
    assert gate.empty._title.text() == "No template."
    failure = RunFailure(code="x", message="No tokenizer.", remedy="Choose another.")
    child.job.is_over = True
    child.job.ended.emit(RunRecord(status="failed", failure=failure))
    assert gate.empty._title.text() == "No tokenizer."
    child.job.is_over = False
    wait_for_look(child, qtbot, gate.empty.action_requested.emit)


def test_rows_that_are_measured_on_are_looked_at_too(page: DataPage, child: Child) -> None:
    child.say(SURVEYED)
    xray = page._tabs.xray
    assert not xray._sides.isEnabled()
    assert "No rows are held back" in xray._sides.toolTip()
    counts = {"validation_rows": 2, "validation_findings": {"secret_key": 1}}
    child.say(SURVEYED.model_copy(update=counts))
    xray._sides._buttons["validation"].click()
    assert child.last(ShowRow).side == "validation"
    found = [xray._finding.itemData(place) for place in range(xray._finding.count())]
    assert found == ["", "secret_key"]
    child.say(ROW.model_copy(update={"side": "validation", "is_held_back": True}))
    assert "held back for validation" in xray._about.text()
    # What a check lists is asked for on both sides; the switch follows the row that comes.
    xray.choose_list("email_address", 1)
    assert (child.last(ShowRow).side, child.last(ShowRow).rank) == ("any", 1)
    child.say(ROW)
    assert xray.listing == ("email_address", "file", "train")
    assert xray._sides._buttons["train"].isChecked()
    child.say(ROW.model_copy(update={"files": "validation", "side": "validation"}))
    assert not xray._leave_out.isEnabled()


def test_the_limit_tells_what_it_saves_in_time(page: DataPage, child: Child) -> None:
    panel = page._tabs.lengths
    child.say(LIMITS)
    assert panel._time.isHidden()
    panel.show_times(lambda _found, limit: EpochTime(6.0 * limit, is_guess=limit == 20))
    told = panel._time.text()
    assert told.startswith("Cutting at 20 saves about 2 min per epoch: 2 min instead of 4 min.")
    assert "rough guess" in told
    panel._on_limit_moved(40)
    assert panel._time.text() == "An epoch takes about 4 min."


def test_a_validation_file_that_is_not_clear_is_told(page: DataPage, child: Child) -> None:
    unclear = SourceExamined(
        request=0, position=0, side="validation", source="/x/own.jsonl", certainty="unsure",
        message="Columns found: de, en.",
    )  # fmt: skip
    child.say(unclear, SURVEYED, LIMITS)
    card = page._tabs.checks._cards.itemAt(0).widget()
    assert "own.jsonl cannot be used yet. Columns found" in card._problem.message
    assert page._tabs.tabText(CHECKS) == "Checks (1)"


def test_a_known_kind_of_file_is_asked_about_by_name(
    page: DataPage, studio: Studio, child: Child
) -> None:
    columns = {"prompt": "prompt", "answer": "chosen"}
    way = LayoutOption(format="prompt", columns=columns, words="Learn to write the better answer")
    lines = LayoutOption(format="text", columns={}, words="Line by line", documents="line")
    asked = SourceExamined(
        request=0, position=0, source="rows.jsonl", certainty="unsure", seems="Preference pairs",
        options=(way, lines), message="Every row has two answers.",
    )  # fmt: skip
    child.say(asked)
    panel = page._tabs.columns
    assert panel._name.text() == "Preference pairs"
    gate = page._tabs._gates[XRAY - 1]
    assert gate.empty._title.text() == "One question first"
    gate.empty.action_requested.emit()
    assert page._tabs.currentIndex() == COLUMNS
    buttons = {button.text(): button for button in _buttons(panel)}
    buttons["Learn to write the better answer"].click()
    source = studio.context.draft.get_value("data.train")[0]
    assert (source["format"], source["columns"]) == ("prompt", columns)
    child.say(asked)
    buttons = {button.text(): button for button in _buttons(panel)}
    buttons["Line by line"].click()
    assert studio.context.draft.get_value("data.train")[0]["documents"] == "line"


def test_a_finding_leads_to_where_it_is_mended(page: DataPage, child: Child, qtbot: QtBot) -> None:
    for place, tab in (("learning", LEARNING), ("lengths", LENGTHS), ("columns", COLUMNS)):
        page._tabs.checks.lead_chosen.emit(place, 0)
        assert page._tabs.currentIndex() == tab
    with qtbot.waitSignal(page.page_requested) as told:
        page._tabs.checks.lead_chosen.emit("model", 0)
    assert told.args == ["model"]


def test_rows_without_turns_offer_no_choice_of_who_is_learnt(page: DataPage, child: Child) -> None:
    page._tabs.setCurrentIndex(LEARNING)
    panel = page._tabs.learning
    texts = SourceExamined(
        request=0, position=0, source="rows.jsonl", certainty="sure", format="text",
        columns={"text": "t"},
    )  # fmt: skip
    child.say(texts, SURVEYED)
    assert not panel._turns.isVisible()
    assert "learnt as a whole" in panel._whole.text()
    assert "tokenizer has read" in page._tabs.columns._nothing.text()
    child.say(texts.model_copy(update={"position": 1, "format": "messages"}))
    assert panel._turns.isVisible()
    assert not panel._whole.isVisible()
