"""Measures the window: start, smoothness while a run trains, time to the first loss.

Run on a real or virtual screen from the repository:

    xvfb-run -a -s "-screen 0 1400x900x24" python -m tests.benchmarks.spine
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QElapsedTimer, Qt, QTimer
from PySide6.QtWidgets import QApplication

from tests.e2e.visitor import Visitor

ROUNDS = 5
RESULT = Path(__file__).parent / "results" / "spine.md"

_FIRST_PAINT = """
import sys, time
start = time.perf_counter()
from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication
from pathlib import Path
from studio.core.paths import Home
from studio.gui.app import build_studio
app = QApplication([])
studio = build_studio(app, Home(Path(sys.argv[1])))

class Watcher(QObject):
    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint:
            QTimer.singleShot(0, self.done)
        return False
    def done(self):
        print(time.perf_counter() - start)
        app.quit()

watcher = Watcher()
studio.window.installEventFilter(watcher)
studio.window.centralWidget().installEventFilter(watcher)
studio.window.show_page("home")
studio.window.show()
app.exec()
studio.close()
"""


class Lateness:
    """How late a precise 16 ms timer of the GUI thread fires, in milliseconds."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self._clock = QElapsedTimer()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._note)

    def start(self) -> None:
        """Begin to measure."""
        self._clock.start()
        self._timer.start(16)

    def pause(self) -> None:
        """Measure no more until the next ``start``."""
        self._timer.stop()

    def stop(self) -> dict[str, float]:
        """Stop and return p50, p95, p99 and the maximum."""
        self._timer.stop()
        late = sorted(self.late)
        at = [late[int(len(late) * share)] for share in (0.5, 0.95, 0.99)]
        return {"p50": at[0], "p95": at[1], "p99": at[2], "max": late[-1], "ticks": len(late)}

    def _note(self) -> None:
        self.late.append(max(0.0, self._clock.nsecsElapsed() / 1e6 - 16.0))
        self._clock.restart()


def main() -> None:
    """Measure everything and write the table."""
    rows = [
        ("window visible, first paint", "< 1.0 s", _seconds(_measure_first_paint)),
        ("`import studio.core`", "< 0.3 s", _seconds(lambda: _measure_import("studio.core"))),
        (
            "`import studio.core.recipe.load, studio.core.runs.store`",
            "< 0.3 s",
            _seconds(lambda: _measure_import("studio.core.recipe.load, studio.core.runs.store")),
        ),
        *_measure_run(),
    ]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    text = [
        "# The window, measured",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"platform plugin {QApplication.platformName()}, load average at the end {load}. "
        f"Times are the median of {ROUNDS} starts (smallest in brackets); the run is the starter.",
        "",
        "| what | target | measured |",
        "|---|---|---|",
        *(f"| {what} | {target} | {value} |" for what, target, value in rows),
        "",
    ]
    RESULT.write_text("\n".join(text), encoding="utf-8")
    sys.stdout.write("\n".join(text))


def _seconds(measure: Callable[[], float]) -> str:
    measure()  # warms the disk cache
    times = [measure() for _ in range(ROUNDS)]
    return f"{statistics.median(times):.2f} s ({min(times):.2f})"


def _measure_first_paint() -> float:
    with tempfile.TemporaryDirectory() as home:
        child = [sys.executable, "-c", _FIRST_PAINT, home]
        done = subprocess.run(child, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def _measure_import(names: str) -> float:
    code = f"import time; s = time.perf_counter(); import {names}; print(time.perf_counter() - s)"
    child = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(child.stdout)


def _measure_run() -> list[tuple[str, str, str]]:
    """Press Try the starter; watch the GUI thread until the run has ended."""
    app = QApplication.instance() or QApplication(["spine"])
    assert isinstance(app, QApplication)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        visitor = Visitor(app, home / "home", home / "pictures", "light")
        visitor.rest(1.0)
        idle = Lateness()
        idle.start()
        visitor.rest(3.0)
        idle_result = idle.stop()
        first_loss: list[float] = []
        start = time.perf_counter()

        def note(record: object) -> None:
            if not first_loss and getattr(record, "last_loss", None) is not None:
                first_loss.append(time.perf_counter() - start)

        ended: list[object] = []
        visitor.studio.context.feed.run_changed.connect(note)
        visitor.studio.context.feed.run_ended.connect(ended.append)
        busy = Lateness()
        busy.start()
        visitor.click("Try the starter")
        visitor.wait(lambda: bool(ended), "the end of the run", 240)
        result = busy.stop()
        visitor.leave()
    return [
        ("Start pressed to first loss on the page", "< 6 s", f"{first_loss[0]:.2f} s"),
        ("lateness of a 16 ms timer, idle", "", _tell(idle_result)),
        ("lateness of a 16 ms timer while the starter trains", "p99 < 16 ms", _tell(result)),
    ]


def _tell(lateness: dict[str, float]) -> str:
    return (
        f"p50 {lateness['p50']:.1f}, p95 {lateness['p95']:.1f}, p99 {lateness['p99']:.1f}, "
        f"max {lateness['max']:.0f} ms over {lateness['ticks']:.0f} ticks"
    )


if __name__ == "__main__":
    main()
