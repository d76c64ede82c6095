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

from PySide6.QtWidgets import QApplication

from studio.core.jobs.orders import Turn
from studio.core.starter import load_starter
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
    ]
    RESULT.write_text("\n".join(text), encoding="utf-8")
    sys.stdout.write("\n".join(text))


def _measure(app: QApplication, place: Path, pictures: Path, count: int) -> str:
    visitor = Visitor(app, place / f"home-{count}", pictures, "light")
    visitor.window.show_page("compare")
    page = visitor.window.get_page("compare")
    assert isinstance(page, ComparePage)
    page._line_up.choose_base(str(load_starter().model_folder))
    for number in range(1, count):
        page._shelf.pick_folder(place / f"adapter {number}")
    visitor.wait(lambda: len(page._line_up.columns) == count, "all columns")
    visitor.wait(lambda: page._link.is_ready, "the models")
    page._side.settings._length.setValue(192)
    _ask(visitor, page, WARM_UP)
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
    shown = " | ".join(f"{found[name]:.1f} ms" for name in ("p50", "p95", "p99", "max"))
    return f"| {count} | {shown} | {statistics.median(first):.2f} s | {tokens / seconds:.0f} |"


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
