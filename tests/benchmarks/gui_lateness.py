"""Measures how late a 16 ms timer of the window fires while the starter trains; prints a table.

Run: xvfb-run -a python tests/benchmarks/gui_lateness.py
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from PySide6.QtCore import QEventLoop, Qt, QTimer
from PySide6.QtWidgets import QApplication

from studio.core.paths import HOME_VARIABLE, Home
from studio.core.starter import load_starter
from studio.gui.app import Studio, build_studio

INTERVAL_MS = 16
LIMIT_SECONDS = 180


def wait_for(is_true: object, seconds: float) -> float:
    """Runs the event loop until the condition holds; returns how long that took, in seconds."""
    start = time.monotonic()
    loop = QEventLoop()
    poll = QTimer()
    poll.timeout.connect(lambda: loop.quit() if is_true() or is_late() else None)  # type: ignore[operator]

    def is_late() -> bool:
        return time.monotonic() - start > seconds

    poll.start(20)
    loop.exec()
    poll.stop()
    if is_late():
        sys.exit("the starter run took too long")
    return time.monotonic() - start


def measure(studio: Studio) -> tuple[float, list[float]]:
    """Returns seconds from Start to the first drawn loss and the timer's lateness in ms."""
    kit = load_starter()
    studio.context.draft.load(kit.build_recipe(kit.get_data_set()))
    studio.window.show()
    studio.window.show_page("train")
    wait_for(lambda: not studio.context.background.is_busy, LIMIT_SECONDS)
    late: list[float] = []
    last = [time.perf_counter()]

    def note() -> None:
        now = time.perf_counter()
        late.append(max(0.0, (now - last[0]) * 1000 - INTERVAL_MS))
        last[0] = now

    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(note)
    page = studio.window.get_page("train")
    page._ready._start.click()  # type: ignore[attr-defined]
    feed = studio.context.feed
    run = feed.alive_runs[0]
    first = wait_for(lambda: run.record.step > 0 or run.is_over, LIMIT_SECONDS)
    if run.is_over:
        sys.exit(f"the starter run ended early: {run.record.failure}")
    last[0] = time.perf_counter()
    timer.start(INTERVAL_MS)
    wait_for(lambda: not feed.alive_runs, LIMIT_SECONDS)
    timer.stop()
    return first, sorted(late)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        os.environ[HOME_VARIABLE] = folder
        app = QApplication([])
        studio = build_studio(app, home)
        first, late = measure(studio)
        studio.close()
    print(f"platform {app.platformName()}, {len(late)} ticks of {INTERVAL_MS} ms")
    print(f"Start pressed to first loss point: {first:.1f} s")
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
        print(f"lateness {name}: {late[min(len(late) - 1, int(len(late) * share))]:6.1f} ms")


if __name__ == "__main__":
    main()
