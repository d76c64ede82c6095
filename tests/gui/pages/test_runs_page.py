from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from studio.core.events import types
from studio.core.paths import Home
from studio.gui.app import Studio
from studio.gui.bridge.run_catalog import RunRow
from studio.gui.pages.runs.actions import RunActions
from studio.gui.pages.runs.confirm import describe_question
from studio.gui.pages.runs.page import RunsPage
from studio.gui.pages.runs.table_model import COLUMNS
from tests.gui.playing import TIMEOUT_MS
from tests.gui.story import START_SECONDS, tell_finished, tell_start, tell_steps, write_run

Wait = Callable[[Callable[[], bool]], None]


class Answer:
    """Stands for the user in front of the question."""

    def __init__(self) -> None:
        self.is_yes = True
        self.asked: list[tuple[int, int]] = []

    def __call__(self, parent: QWidget, rows: Sequence[RunRow], size_bytes: int) -> bool:
        self.asked.append((len(rows), size_bytes))
        return self.is_yes


@pytest.fixture
def answer() -> Answer:
    return Answer()


@pytest.fixture
def wait(qtbot: QtBot) -> Wait:
    return lambda is_true: qtbot.waitUntil(is_true, timeout=TIMEOUT_MS)


@pytest.fixture
def page(studio: Studio, qtbot: QtBot, answer: Answer) -> RunsPage:
    page = RunsPage(studio.context, answer)
    qtbot.addWidget(page)
    page.resize(1100, 600)
    return page


@pytest.fixture
def three(home: Home) -> list[str]:
    stopped = [*tell_start(40), *tell_steps(20, 40), types.RunStopped(step=20)]
    return [
        write_run(home, "first", tell_finished(), START_SECONDS),
        write_run(home, "second <b>", stopped, START_SECONDS + 100),
        write_run(home, "third", [*tell_start(40), *tell_steps(5, 40)], START_SECONDS + 200),
    ]


def show(page: RunsPage, wait: Wait, count: int) -> None:
    page.refresh()
    wait(lambda: len(page._table._model.rows) == count)


def get_column(page: RunsPage, title: str) -> list[str]:
    proxy = page._table.model()
    column = [kind.title for kind in COLUMNS].index(title)
    return [str(proxy.index(row, column).data()) for row in range(proxy.rowCount())]


def test_an_empty_history_says_what_to_do(page: RunsPage, studio: Studio, wait: Wait) -> None:
    page.refresh()
    wait(lambda: not studio.context.background.is_busy)
    assert page._stack.currentWidget() is page._empty


def test_runs_are_listed_newest_first_with_state_base_and_data(
    page: RunsPage, three: list[str], wait: Wait
) -> None:
    show(page, wait, 3)
    assert get_column(page, "Name") == ["third", "second <b>", "first"]
    assert get_column(page, "State") == ["Interrupted", "Stopped", "Finished"]
    assert set(get_column(page, "Base")) == {"Qwen3-0.6B"}
    assert set(get_column(page, "Data")) == {"support.jsonl"}
    assert get_column(page, "Steps") == ["5 of 40", "20 of 40", "40"]


def test_every_word_of_the_search_must_occur(page: RunsPage, three: list[str], wait: Wait) -> None:
    show(page, wait, 3)
    page._table.selectRow(0)
    page._search.setText("no such run")
    assert page._table.selected_rows == []
    assert not any(button.isEnabled() for button in page._actions.findChildren(QPushButton))
    page._search.setText("qwen stopped")
    assert get_column(page, "Name") == ["second <b>"]
    page._search.setText("")
    assert len(get_column(page, "Name")) == 3


def test_numbers_are_sorted_as_numbers(page: RunsPage, three: list[str], wait: Wait) -> None:
    show(page, wait, 3)
    page._table.sortByColumn(4, Qt.SortOrder.AscendingOrder)
    assert get_column(page, "Steps") == ["5 of 40", "20 of 40", "40"]


def test_enter_opens_a_run_on_the_train_page(
    page: RunsPage, three: list[str], wait: Wait, qtbot: QtBot
) -> None:
    show(page, wait, 3)
    page._table.selectRow(2)
    with qtbot.waitSignal(page.run_requested) as asked:
        qtbot.keyClick(page._table, Qt.Key.Key_Return)
    assert asked.args == ["train", three[0]]


def test_f2_renames_in_place(page: RunsPage, three: list[str], wait: Wait, qtbot: QtBot) -> None:
    show(page, wait, 3)
    page._table.selectRow(0)
    qtbot.keyClick(page._table, Qt.Key.Key_F2)
    editor = page._table.findChild(QLineEdit)
    assert editor is not None
    editor.setText("  a better   name ")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    wait(lambda: get_column(page, "Name")[0] == "a better name")


def test_delete_tells_the_size_and_only_deletes_after_yes(
    page: RunsPage, three: list[str], wait: Wait, answer: Answer
) -> None:
    show(page, wait, 3)
    page._table.selectRow(0)
    answer.is_yes = False
    page._actions.requested.emit("delete")
    wait(lambda: len(answer.asked) == 1)
    assert answer.asked[0][1] > 1000
    assert Path(three[2]).is_dir()
    answer.is_yes = True
    page._actions.requested.emit("delete")
    wait(lambda: len(page._table._model.rows) == 2)
    assert not Path(three[2]).exists()


def test_actions_are_on_only_where_they_make_sense(
    page: RunsPage, three: list[str], wait: Wait
) -> None:
    show(page, wait, 3)
    buttons = page._actions._buttons

    def get_enabled() -> set[str]:
        return {key for key, button in buttons.items() if button.isEnabled()}

    assert get_enabled() == set()
    page._table.selectRow(1)
    assert get_enabled() == {"open", "rows", "resume", "rename", "delete"}
    page._table.selectRow(2)
    able = {"open", "rows", "continue", "compare", "export", "rename", "delete"}
    assert get_enabled() == able
    page._table.selectAll()
    assert get_enabled() == {"delete"}


def test_the_curves_of_all_selected_runs_are_laid_over_each_other(
    page: RunsPage, three: list[str], wait: Wait
) -> None:
    show(page, wait, 3)
    page._table.selectAll()
    wait(lambda: page._overlay._plot is not None and len(page._overlay._plot._items) == 6)
    page._table.clearSelection()
    wait(lambda: not page._overlay._hint.isHidden())


def test_the_question_names_the_runs(page: RunsPage, three: list[str], wait: Wait) -> None:
    show(page, wait, 3)
    rows = page._table._model.rows
    assert describe_question(rows[:1]) == "Delete the run third?"
    assert "- second <b>" in describe_question(rows)


def test_all_actions_stand_in_one_line_in_a_small_window(qtbot: QtBot) -> None:
    actions = RunActions()
    qtbot.addWidget(actions)
    actions.show()
    for width, has_icons in ((1032, True), (756, False), (1032, True)):
        actions.resize(width, 60)
        buttons = actions._buttons.values()
        assert all(button.icon().isNull() is not has_icons for button in buttons)
        qtbot.waitUntil(lambda: len({one.y() for one in actions._buttons.values()}) == 1)


def test_runs_without_curves_take_no_place_among_those_that_are_drawn(
    page: RunsPage, home: Home, wait: Wait
) -> None:
    write_run(home, "with curves", tell_finished(), START_SECONDS)
    for number in range(7):  # newer ones, which stand first
        write_run(home, f"failed {number}", tell_start(40), START_SECONDS + 1 + number)
    page.refresh()
    wait(lambda: page._table.model().rowCount() == 8)
    page._presenter.load_curves(page._presenter._catalog.load())
    wait(lambda: page._overlay._plot is not None)
    assert [name for name, _ in page._overlay._plot._runs] == ["with curves"]


def test_a_run_that_is_asked_for_is_scrolled_to(page: RunsPage, home: Home, wait: Wait) -> None:
    oldest = write_run(home, "oldest", tell_finished(), START_SECONDS)
    for number in range(1, 30):
        write_run(home, f"run {number}", tell_finished(), START_SECONDS + number)
    page.show()
    page.refresh()
    wait(lambda: page._table.model().rowCount() == 30)
    page.show_run(oldest)
    index = page._table.selectionModel().selectedRows()[0]
    assert index.row() == 29
    assert page._table.viewport().rect().contains(page._table.visualRect(index))
