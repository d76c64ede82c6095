from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMessageBox
from pytestqt.qtbot import QtBot

from studio.core.paths import Home
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import is_alive
from studio.gui.app import Studio
from studio.gui.bridge.live_job import LiveJob
from studio.gui.closing import CloseQuestion
from tests.gui.playing import TIMEOUT_MS, Play, play
from tests.gui.story import build_recipe

__all__ = ["play"]


@pytest.fixture
def run(studio: Studio, home: Home, play: Play, qtbot: QtBot) -> LiveJob:
    play("obedient")
    recipe = build_recipe("a long <b>run</b>", home.folder / "material")
    run = studio.context.feed.start(recipe, home.folder)
    qtbot.waitUntil(lambda: run.record.step > 0, timeout=TIMEOUT_MS)
    return run


def press(words: str, seen: list[str]) -> Callable[[], None]:
    def do() -> None:
        box = QApplication.activeModalWidget()
        assert isinstance(box, QMessageBox)
        seen.append(box.text())
        next(button for button in box.buttons() if button.text() == words).click()

    return do


def ask(studio: Studio, words: str) -> tuple[bool, str]:
    seen: list[str] = []
    QTimer.singleShot(50, press(words, seen))
    return CloseQuestion(studio.context.feed)(studio.window), seen[0]


def end(run: LiveJob, qtbot: QtBot) -> None:
    run.stop()
    qtbot.waitUntil(lambda: run.is_over, timeout=TIMEOUT_MS)


def test_without_runs_the_window_closes_at_once(studio: Studio) -> None:
    assert CloseQuestion(studio.context.feed)(studio.window)


def test_keep_training_closes_and_leaves_the_run_alone(
    studio: Studio, run: LiveJob, qtbot: QtBot
) -> None:
    may_close, words = ask(studio, "Keep training")
    assert may_close
    assert "a long <b>run</b>" in words
    assert is_alive(RunLayout(Path(run.folder)))
    end(run, qtbot)


def test_stay_here_keeps_the_window_open(studio: Studio, run: LiveJob, qtbot: QtBot) -> None:
    assert not ask(studio, "Stay here")[0]
    end(run, qtbot)


def test_stop_and_save_ends_the_run(studio: Studio, run: LiveJob, qtbot: QtBot) -> None:
    assert ask(studio, "Stop and save")[0]
    qtbot.waitUntil(lambda: run.is_over, timeout=TIMEOUT_MS)
    assert run.record.status == "stopped"
