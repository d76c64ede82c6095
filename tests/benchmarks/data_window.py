"""Seconds until the Data page shows something of a large file, counted from opening it.

Run: ``python -m tests.benchmarks.data_window (--file JSONL | --mb 2048 --words FILE)``. Without
``--file`` one is written first and deleted afterwards. Every round is a window and a child of its
own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from PySide6.QtWidgets import QApplication

from studio.core.starter import load_starter
from studio.gui.pages.data.page import DataPage
from studio.gui.pages.data.tabs import XRAY
from tests.benchmarks.data_speed import write_rows
from tests.e2e.visitor import Visitor


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--words", type=Path)
    parser.add_argument("--file", type=Path)
    arguments = parser.parse_args()
    app = QApplication(["data"])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        path = arguments.file or folder / "rows.jsonl"
        if arguments.file is None:
            words = arguments.words.read_text(encoding="utf-8").split()
            write_rows(path, words, 1 << 40, arguments.mb << 20)
        print(f"{path.stat().st_size >> 20:,} MB\n")
        print(
            "| rows as written | what the file is (its child included) | tokens of a row | load |"
        )
        print("|---|---|---|---|")
        for number in range(arguments.rounds):
            print(measure(app, folder / f"home-{number}", path), flush=True)


def measure(app: QApplication, home: Path, path: Path) -> str:
    """Return one row of the table, for a window that sees the file for the first time."""
    visitor = Visitor(app, home, home / "pictures", "light")
    model = str(load_starter().model_folder)
    draft = visitor.studio.context.draft
    draft.set_values({"base.model": model, "data.train": [{"source": str(path)}]})
    started = time.perf_counter()
    visitor.window.show_page("data")
    page = visitor.window.get_page("data")
    assert isinstance(page, DataPage)
    visitor.wait(lambda: page._tabs._table.model().rowCount() > 0, "the first rows")
    times = [time.perf_counter() - started]
    started = time.perf_counter()
    page._tabs.setCurrentIndex(XRAY)
    visitor.wait(lambda: bool(page._view._examined), "what the file is")
    times.append(time.perf_counter() - started)
    visitor.wait(lambda: page._tabs.xray.row is not None, "the tokens of a row", 120)
    times.append(time.perf_counter() - started)
    visitor.leave()
    shown = " | ".join(f"{one:.2f} s" for one in times)
    return f"| {shown} | {os.getloadavg()[0]:.1f} |"


if __name__ == "__main__":
    sys.exit(main())
