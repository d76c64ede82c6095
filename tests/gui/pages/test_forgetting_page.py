from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.core.forgetting.probes import load_own_probes
from studio.core.forgetting.report import ReportStore
from studio.core.paths import Home
from studio.gui.app import Studio
from studio.gui.pages.forgetting.page import ForgettingPage
from studio.gui.pages.forgetting.verdict_grid import VerdictTile
from tests.gui.playing import TIMEOUT_MS, Play
from tests.gui.story import tell_finished, write_run

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def wait(qtbot: QtBot) -> Wait:
    return lambda is_true: qtbot.waitUntil(is_true, timeout=TIMEOUT_MS)


@pytest.fixture
def page(studio: Studio, home: Home, wait: Wait) -> ForgettingPage:
    folder = write_run(home, "pirate", tell_finished())
    page = studio.window.get_page("forgetting")
    assert isinstance(page, ForgettingPage)
    assert page._start._words.text() == "Add the adapter to check first."
    studio.window.show_run("forgetting", folder)
    wait(lambda: bool(page._selection.adapters))
    return page


def test_what_broke_is_red_and_says_what_to_try(
    page: ForgettingPage, home: Home, play: Play, qtbot: QtBot, wait: Wait
) -> None:
    play("forgetting")
    page._own._edit.setPlainText("Who are you? => <b>Lumi</b>")
    page._start._start.click()
    wait(lambda: not page._result.isHidden())
    assert load_own_probes(home)[0].contains == ("<b>Lumi</b>",)
    assert page._result.outcome.property("kind") == "error"
    assert page._result.outcome._message.text() == "pirate broke Your own prompts."
    assert "lower strength" in page._result.outcome._remedy.text()
    tiles = page._result.grid.findChildren(VerdictTile)
    assert tiles[0].property("kind") == "error"
    assert "this broke" in tiles[0].accessibleName()
    grid = page._result.grid
    assert grid.minimumSizeHint().width() < 200, "many columns must not make the page wider"
    qtbot.keyClick(tiles[0], Qt.Key.Key_Return)
    assert not page._answers.isHidden()
    assert page._answers._title.text() == "Your own prompts: base and pirate"
    assert page._answers._list.count() == 1


def test_a_check_is_kept_opened_again_and_written_as_a_file(
    page: ForgettingPage, home: Home, play: Play, wait: Wait, tmp_path: Path
) -> None:
    play("forgetting")
    page._own._edit.setPlainText("Who are you? => Lumi")
    page._start._start.click()
    wait(lambda: not page._history.isHidden())
    ((path, report),) = ReportStore(home).list()
    assert report.is_broken
    page._result.hide()
    page._history.chosen.emit(path)
    wait(lambda: not page._result.isHidden())
    page.save_file(tmp_path / "a.csv", "csv")
    page.save_file(tmp_path / "a.md", "md")
    wait(lambda: (tmp_path / "a.csv").exists() and (tmp_path / "a.md").exists())
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as stream:
        first = next(csv.DictReader(stream))
    assert (first["base: right"], first["pirate: right"]) == ("True", "False")
    text = (tmp_path / "a.md").read_text(encoding="utf-8")
    assert "**broke**" in text
    assert "No longer right with pirate" in text
    page._history.delete_requested.emit(path)
    wait(lambda: page._history.isHidden())
    assert ReportStore(home).list() == []


def test_a_check_that_fails_can_be_started_again(
    page: ForgettingPage, play: Play, wait: Wait
) -> None:
    play("broken-export")
    page._start._start.click()
    wait(lambda: not page._notice.isHidden())
    assert page._notice._message.text() == "No space."
    assert page._start._start.isEnabled()
    assert page._result.isHidden()
