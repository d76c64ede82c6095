"""A table of measurements is on the disk row by row, whatever happens to its parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from tests.benchmarks.card import Report


def test_a_part_that_fails_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    out = tmp_path / "table.md"
    report = Report(out)

    def measure() -> Iterator[str]:
        yield "| first | 1 |"
        assert "| first | 1 |" in out.read_text(encoding="utf-8")
        raise RuntimeError("the kernel | is\nbroken")

    def run_out() -> Iterator[str]:
        raise torch.OutOfMemoryError("CUDA out of memory.")
        yield ""

    assert not report.attempt("first", measure, columns=1)
    assert not report.attempt("second", run_out, columns=2)
    assert report.attempt("third", lambda: ["| third | 3 |"])
    text = out.read_text(encoding="utf-8")
    assert "| first | failed: RuntimeError: the kernel / is |\n" in text
    assert "| second | out of memory | |\n| third | 3 |" in text
    assert "Traceback" in text
    assert text.index("Traceback") > text.index("| third | 3 |")


def test_no_part_begins_when_the_time_is_over() -> None:
    report = Report(None, minutes=0)
    begun: list[int] = []
    assert not report.attempt("late", lambda: begun.append(1) or [])
    assert begun == []
