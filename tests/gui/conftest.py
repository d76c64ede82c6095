"""Fixtures for the window: no display, no leaks, a home folder of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QCoreApplication, QEvent, QTimer
from PySide6.QtWidgets import QApplication

from studio.core.network.gate import OFFLINE_VARIABLE
from studio.core.paths import Home
from studio.gui.app import Studio, build_studio

_WAIT_SECONDS = 5.0


@pytest.fixture(autouse=True)
def no_leaks(qapp: QApplication) -> Iterator[None]:
    """Fails a test that leaves a window, a running timer, a thread or a child process behind."""
    threads = set(threading.enumerate())
    windows = set(map(id, qapp.topLevelWidgets()))
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    qapp.processEvents()
    left = [w for w in qapp.topLevelWidgets() if id(w) not in windows and w.isVisible()]
    assert not left, f"windows left open: {left}"
    timers = [t for t in qapp.findChildren(QTimer) if t.isActive()]
    assert not timers, f"timers left running: {timers}"
    for thread in set(threading.enumerate()) - threads:
        if not isinstance(thread, threading._DummyThread):
            thread.join(_WAIT_SECONDS)
            assert not thread.is_alive(), f"thread left running: {thread}"
    new = [p for p in psutil.Process().children(recursive=True) if p.pid not in children]
    _gone, alive = psutil.wait_procs(new, _WAIT_SECONDS)
    assert not alive, f"child processes left: {alive}"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home folder."""
    return Home(tmp_path / "home")


@pytest.fixture
def studio(
    qapp: QApplication, qtbot: object, home: Home, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Studio]:
    """A window with all its collaborators, not shown yet; it may go online if it wants to."""
    monkeypatch.setenv(OFFLINE_VARIABLE, "0")
    built = build_studio(qapp, home)
    yield built
    built.window.close()
    built.close()
    built.window.deleteLater()
