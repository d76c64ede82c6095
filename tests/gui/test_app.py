from __future__ import annotations

import importlib.util
import logging
import os
import threading
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.core.errors import FileUnusable
from studio.core.paths import Home
from studio.gui import app as app_module
from studio.gui.app import Studio, find_starter, get_log_path, load_early, main


@pytest.fixture
def root_log() -> object:
    """Takes away what a test adds to the root logger."""
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()


def test_the_program_opens_a_page_and_ends_with_0(
    qapp: QApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root_log: object
) -> None:
    monkeypatch.setattr(app_module, "QApplication", lambda _argv: qapp)
    monkeypatch.setattr(app_module.signal, "signal", lambda *_: None)
    opened: list[str] = []

    def look_and_close() -> None:
        window = next(w for w in qapp.topLevelWidgets() if hasattr(w, "page_key"))
        opened.append(window.page_key)
        window.close()

    QTimer.singleShot(0, look_and_close)
    home = Home(tmp_path / "home")
    assert main(["--home", str(home.folder), "--page", "settings"]) == 0
    assert opened == ["settings"]
    assert get_log_path(home).exists()


def test_an_unknown_page_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--page", "nowhere"])
    assert ended.value.code == 2


@pytest.mark.parametrize(("kept", "wanted"), [(150, "1.5"), (100, None), ("big", None), (7, None)])
def test_the_size_is_set_before_qt_starts(
    monkeypatch: pytest.MonkeyPatch, kept: object, wanted: str | None
) -> None:
    monkeypatch.setenv("QT_SCALE_FACTOR", "x")
    monkeypatch.delenv("QT_SCALE_FACTOR")
    app_module._set_scale(kept)
    assert os.environ.get("QT_SCALE_FACTOR") == wanted


def test_the_users_own_scale_factor_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_SCALE_FACTOR", "3")
    app_module._set_scale(150)
    assert os.environ["QT_SCALE_FACTOR"] == "3"


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    app_module._start_log(tmp_path / "file" / "window.log")


def test_a_missing_starter_is_no_catastrophe(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise FileUnusable("The starter kit cannot be read.")

    monkeypatch.setattr(app_module, "load_starter", fail)
    assert find_starter() is None


def test_slow_code_of_later_pages_is_loaded_beside_the_window(
    studio: Studio, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[str, bool]] = []
    window_thread = threading.get_ident()
    monkeypatch.setattr(
        "studio.gui.app.import_module",
        lambda name: loaded.append((name, threading.get_ident() == window_thread)),
    )
    load_early(studio.context.background)
    qtbot.waitUntil(lambda: not studio.context.background.is_busy)
    assert loaded == [
        ("studio.gui.plots.run_plots", False),
        ("studio.gui.pages.train.page", False),
    ]
    assert all(importlib.util.find_spec(name) is not None for name, _ in loaded)
