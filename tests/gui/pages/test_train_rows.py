"""The rows of a run on the Train page: looked at, chosen, left out of the next run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.core.events import types
from studio.core.microscope.stories import RowStory
from studio.core.paths import Home
from studio.gui.app import Studio
from studio.gui.bridge.row_watch import RowWatch
from studio.gui.pages.runs.page import RunsPage
from studio.gui.pages.train.page import TrainPage
from studio.gui.pages.train.rows_panel import RowsPanel
from studio.gui.pages.train.rows_table import TEXT
from tests.core.microscope.row_files import write_rows
from tests.gui.playing import TIMEOUT_MS
from tests.gui.story import tell_finished, write_run

LOSSES = {row: (3.0 + row / 100, 0.5, 0.4 + row / 1000) for row in range(40)} | {
    7: (3.0, 0.5, 2.4),
    9: (3.0, 2.9, 2.95),
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[RowStory]]:
    """Rows whose text was asked for; no child is started, the answer comes at once."""
    wanted: list[list[RowStory]] = []

    def ask(self: RowWatch, stories: list[RowStory]) -> None:
        wanted.append(stories)
        self._on_events_arrived(
            [
                types.RowRead(
                    document=one.document,
                    place=f"chats.jsonl, line {one.document + 1}",
                    prompt="<b>How</b> many?",
                    answer=f"It is {one.document}.",
                )
                for one in stories
            ]
        )

    monkeypatch.setattr(RowWatch, "ask_for_texts", ask)
    return wanted


@pytest.fixture
def folder(home: Home) -> Path:
    run = Path(write_run(home, "tone", tell_finished()))
    write_rows(run, LOSSES)
    return run


@pytest.fixture
def page(studio: Studio, qtbot: QtBot, folder: Path, asked: list[Any]) -> TrainPage:
    studio.window.resize(1280, 800)
    studio.window.show()
    studio.window.show_part("train", str(folder), "rows")
    page = studio.window.get_page("train")
    assert isinstance(page, TrainPage)
    table = page._rows.panel._table
    qtbot.waitUntil(lambda: table._rows.rowCount() == 40 and bool(asked), timeout=TIMEOUT_MS)
    return page


Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def wait(qtbot: QtBot) -> Wait:
    return lambda is_true: qtbot.waitUntil(is_true, timeout=TIMEOUT_MS)


def _read(panel: RowsPanel, row: int, column: int) -> str:
    model = panel._table._rows
    return str(model.data(model.index(row, column)))


def test_the_worst_rows_are_listed_with_text_and_course(page: TrainPage) -> None:
    panel = page._rows.panel
    assert panel.isVisible()
    assert _read(panel, 0, 0) == "10"
    assert _read(panel, 0, TEXT) == "<b>How</b> many?  →  It is 9."
    detail = panel._detail
    assert detail._place.text().replace("\u200b", "") == "chats.jsonl, line 10"
    assert detail._prompt.text == "<b>How</b> many?"
    assert "Seen 3 times" in detail._story.text()
    assert detail._course.accessibleName() == "Loss each time it was seen: 3.00, 2.90, 2.95"
    assert page._view._status.isHidden()


def test_lists_and_heads_sort_by_mouse(page: TrainPage, qtbot: QtBot) -> None:
    panel = page._rows.panel
    assert panel._choice._buttons["forgotten"].text() == "Forgotten (1)"
    qtbot.mouseClick(panel._choice._buttons["forgotten"], Qt.MouseButton.LeftButton)
    assert panel._table._rows.rowCount() == 1
    assert _read(panel, 0, 0) == "8"
    panel._choice._buttons["worst"].click()
    panel._table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    assert [_read(panel, row, 0) for row in range(3)] == ["1", "2", "3"]


@pytest.mark.parametrize("goes_on", [False, True])
def test_rows_are_left_out_of_the_next_run_by_keyboard(
    studio: Studio, page: TrainPage, qtbot: QtBot, wait: Wait, goes_on: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    panel = page._rows.panel
    opened: list[Any] = []
    monkeypatch.setattr(panel._menu, "popup", opened.append)
    panel._table.setFocus()
    qtbot.keyClick(panel._table, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    assert panel._count.text() == "2 selected"
    qtbot.keyClick(panel._table, Qt.Key.Key_Delete)
    assert len(opened) == 1
    (panel._go_on if goes_on else panel._again).trigger()
    wait(lambda: page._presenter.is_ready_shown)
    values = studio.context.draft.get_values()
    assert values["data"]["exclude"] == [f"{9:032x}", f"{7:032x}"]
    assert bool(values["adapter"]["resume_from"]) is goes_on
    assert "2 rows are left out of the next run." in page._notice._message.text()
    wait(lambda: not studio.context.background.is_busy)


def test_a_row_opens_on_the_data_page_with_the_runs_own_files(
    studio: Studio, page: TrainPage, qtbot: QtBot, wait: Wait, folder: Path
) -> None:
    with qtbot.waitSignal(page.part_requested, timeout=TIMEOUT_MS) as opened:
        qtbot.keyClick(page._rows.panel._table, Qt.Key.Key_Return)
    assert opened.args == ["data", "", "row 0 10"]
    sources = studio.context.draft.get_value("data.train")
    assert Path(sources[0]["source"]).name == "support.jsonl"
    wait(lambda: not studio.context.background.is_busy)


def test_a_list_is_saved_as_a_table(page: TrainPage, tmp_path: Path, wait: Wait) -> None:
    path = tmp_path / "rows.csv"
    page._rows.save("worst", path)
    wait(path.exists)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 41
    wait(lambda: "Saved: " in page._notice._message.text())


def test_runs_open_their_rows_and_older_runs_say_why_there_are_none(
    studio: Studio, home: Home, qtbot: QtBot, wait: Wait
) -> None:
    older = write_run(home, "older", tell_finished())
    studio.window.show()
    studio.window.show_page("runs")
    runs = studio.window.get_page("runs")
    assert isinstance(runs, RunsPage)
    wait(lambda: bool(runs._table.model().rowCount()))
    runs._table.select_run(older)
    runs._actions._buttons["rows"].click()
    assert studio.window.page_key == "train"
    page = studio.window.get_page("train")
    assert isinstance(page, TrainPage)
    wait(lambda: not studio.context.background.is_busy)
    panel = page._rows.panel
    assert panel.isVisible()
    assert panel._stack.currentWidget() is panel._empty


def test_a_run_at_work_is_looked_at_again_while_somebody_looks(
    studio: Studio, home: Home, qtbot: QtBot, wait: Wait, folder: Path, asked: list[Any]
) -> None:
    watch = RowWatch(studio.context.feed, studio.context.background)
    counts: list[int] = []
    watch.lists_changed.connect(lambda lists: counts.append(len(lists.report.stories)))
    watch.follow(str(folder), is_live=True)
    wait(lambda: counts == [40])
    write_rows(folder, LOSSES | {40: (1.0, 1.0, 1.0)})
    watch._timer.setInterval(0)
    watch._timer.start()
    wait(lambda: counts == [40, 41])
    watch.stop()
    assert not watch._timer.isActive()
