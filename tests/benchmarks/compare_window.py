"""Measures the Compare page: smoothness while columns stream, and the wait for the first word.

Run on a real or virtual screen from the repository:

    xvfb-run -a -s "-screen 0 1400x900x24" python -m tests.benchmarks.compare_window
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PySide6.QtCore import QAbstractEventDispatcher
from PySide6.QtWidgets import QApplication

from studio.core.jobs.orders import Turn
from studio.core.starter import load_starter
from studio.gui.bridge import chat_link
from studio.gui.pages.compare.page import ComparePage
from tests.benchmarks.spine import Lateness
from tests.e2e.visitor import Visitor

RESULT = Path(__file__).parent / "results" / "compare_window.md"
COLUMNS = (2, 4, 9)
PROMPTS = (
    "Tell me a story about Greta.",
    "What does Mira do?",
    "Where is the ship?",
    "Who lives in the mill?",
    "How much do 3 honey cakes cost?",
    "What is your name?",
)
WARM_UP = "Hello!"
_WRITE_ADAPTERS = """
import sys, torch
from pathlib import Path
from studio.core.recipe.schema import AdapterSettings
from studio.engine.lora.inject import inject
from studio.engine.lora.state import save_adapter
from studio.engine.models.load import load_model
base, folder, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
model = load_model(base, torch.float32, torch.device("cpu"))
for seed in range(count):
    adapter = inject(model, AdapterSettings(rank=16, alpha=32.0), seed=seed)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_(std=0.2)
    save_adapter(adapter, folder / f"adapter {seed + 1}", base_model=str(base))
    adapter.detach()
"""


def main() -> None:
    """Measure every number of columns and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    app = QApplication(["compare"])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        base = load_starter().model_folder
        child = [sys.executable, "-c", _WRITE_ADAPTERS, str(base), folder, str(max(COLUMNS) - 1)]
        subprocess.run(child, check=True)
        pictures = arguments.pictures or place / "pictures"
        rows = [_measure(app, place, pictures, count) for count in COLUMNS]
        turns = _measure_turns(app, place, pictures)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    text = [
        "# The Compare page, measured",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"platform plugin {QApplication.platformName()}, load average at the end {load}. The "
        "starter with adapters of rank 16 of chance numbers, which write nonsense until the "
        f"longest answer of 192 tokens; {len(PROMPTS)} prompts one after the other in a window of "
        "1280x800. Lateness is that of a 16 ms timer of the window while answers come; the first "
        "word is counted from sending the prompt until text is on the page (median of all).",
        "",
        "| columns | lateness p50 | p95 | p99 (target < 16 ms) | most | first word "
        "(target < 0.5 s) | tokens/s of all |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"{max(COLUMNS)} columns in one window, prompts by turns: the pieces of all columns told "
        "in one turn of the event loop, or of a few per turn as the window does. Turns are "
        "counted by the processor time of the window's thread, which other work on the machine "
        "does not change.",
        "",
        "| columns told per turn | lateness p50 | p95 | p99 | most | turns over 6 ms | over 8 ms "
        "| processor time of all turns |",
        "|---|---|---|---|---|---|---|---|",
        *turns,
        "",
    ]
    RESULT.write_text("\n".join(text), encoding="utf-8")
    sys.stdout.write("\n".join(text))


def _open(app: QApplication, place: Path, pictures: Path, count: int) -> Visitor:
    """Opens a window that compares this many columns, loaded and warm."""
    visitor = Visitor(app, place / f"home-{count}", pictures, "light")
    visitor.window.show_page("compare")
    page = _get_page(visitor)
    page._line_up.choose_base(str(load_starter().model_folder))
    for number in range(1, count):
        page._shelf.pick_folder(place / f"adapter {number}")
    visitor.wait(lambda: len(page._line_up.columns) == count, "all columns")
    visitor.wait(lambda: page._link.is_ready, "the models")
    page._side.settings._length.setValue(192)
    _ask(visitor, page, WARM_UP)
    return visitor


def _get_page(visitor: Visitor) -> ComparePage:
    page = visitor.window.get_page("compare")
    assert isinstance(page, ComparePage)
    return page


def _measure_turns(app: QApplication, place: Path, pictures: Path) -> list[str]:
    """Measures the same window with all columns told at once and with a few per turn."""
    visitor = _open(app, place, pictures, max(COLUMNS))
    page, usual = _get_page(visitor), chat_link._COLUMNS_AT_ONCE
    lateness = {max(COLUMNS): Lateness(), usual: Lateness()}
    busy: dict[int, list[float]] = {at_once: [] for at_once in lateness}
    with _Turns() as turns:
        for number, prompt in enumerate(PROMPTS):
            for at_once in sorted(lateness, reverse=bool(number % 2)):
                chat_link._COLUMNS_AT_ONCE = at_once
                turns.spent = busy[at_once]
                lateness[at_once].start()
                _ask(visitor, page, prompt)
                lateness[at_once].pause()
    chat_link._COLUMNS_AT_ONCE = usual
    page._link.close()
    visitor.rest(0.5)
    visitor.leave()
    return [
        f"| {at_once} | {_tell(one.stop())} | {sum(spent > 6 for spent in busy[at_once])} | "
        f"{sum(spent > 8 for spent in busy[at_once])} | {sum(busy[at_once]) / 1e3:.1f} s |"
        for at_once, one in sorted(lateness.items(), reverse=True)
    ]


class _Turns:
    """Adds to ``spent`` the processor milliseconds of this thread in each turn of its loop."""

    def __init__(self) -> None:
        self.spent: list[float] = []
        self._last = time.thread_time()

    def __enter__(self) -> _Turns:
        self._loop = QAbstractEventDispatcher.instance()
        self._loop.awake.connect(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.awake.disconnect(self._note)

    def _note(self) -> None:
        now = time.thread_time()
        self.spent.append((now - self._last) * 1e3)
        self._last = now


def _tell(found: dict[str, float]) -> str:
    return " | ".join(f"{found[name]:.1f} ms" for name in ("p50", "p95", "p99", "max"))


def _measure(app: QApplication, place: Path, pictures: Path, count: int) -> str:
    visitor = _open(app, place, pictures, count)
    page = _get_page(visitor)
    first, tokens, seconds = [], 0, 0.0
    lateness = Lateness()
    lateness.start()
    for prompt in PROMPTS:
        start = time.perf_counter()
        first.append(_ask(visitor, page, prompt))
        seconds += time.perf_counter() - start
        tokens += sum(one.tokens for one in page._talk.exchanges[-1].answers.values())
    found = lateness.stop()
    visitor.look(f"compare-{count}")
    page._link.close()
    visitor.rest(0.5)
    visitor.leave()
    return (
        f"| {count} | {_tell(found)} | {statistics.median(first):.2f} s | {tokens / seconds:.0f} |"
    )


def _ask(visitor: Visitor, page: ComparePage, prompt: str) -> float:
    """Asks, waits for all answers and returns the seconds until the first text was shown."""
    number = len(page._talk.exchanges)
    seconds: list[float] = []
    start = time.perf_counter()

    def note(*_: object) -> None:
        if not seconds:
            seconds.append(time.perf_counter() - start)

    page._talk.text_added.connect(note)
    page.ask([(Turn(role="user", content=prompt),)])
    visitor.wait(
        lambda: len(page._talk.exchanges) > number and not page._talk.is_busy, "the answers", 120
    )
    page._talk.text_added.disconnect(note)
    return seconds[0]


if __name__ == "__main__":
    main()
