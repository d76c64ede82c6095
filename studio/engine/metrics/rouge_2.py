"""ROUGE-2: how many pairs of neighbouring words answer and expected text have in common."""

from __future__ import annotations

from typing import Literal

from studio.engine.metrics import Numbers, divide
from studio.engine.metrics.rouge_1 import compare_runs

LABEL = "Pairs of words in common (ROUGE-2)"
READS: Literal["answer"] = "answer"
IS_HIGHER_BETTER = True


def count(answer: str, expected: str, argument: str) -> tuple[float, ...]:
    """Returns the F-measure of one row, and 1 row; words are runs of letters and digits.

    Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 2.
    """
    del argument
    return compare_runs(answer, expected, 2), 1.0


def combine(sums: Numbers) -> Numbers:
    """Returns the mean over rows, 0 to 1."""
    return divide(sums[..., 0], sums[..., 1])
