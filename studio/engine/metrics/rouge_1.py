"""ROUGE-1: how many single words answer and expected text have in common."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from studio.engine.metrics import Numbers, divide
from studio.engine.metrics.rouge_l import split_words

LABEL = "Words in common (ROUGE-1)"
READS: Literal["answer"] = "answer"
IS_HIGHER_BETTER = True


def count(answer: str, expected: str, argument: str) -> tuple[float, ...]:
    """Returns the F-measure of one row, and 1 row; words are runs of letters and digits.

    Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 2.
    """
    del argument
    return compare_runs(answer, expected, 1), 1.0


def combine(sums: Numbers) -> Numbers:
    """Returns the mean over rows, 0 to 1."""
    return divide(sums[..., 0], sums[..., 1])


def compare_runs(answer: str, expected: str, length: int) -> float:
    """Returns the F-measure of the runs of ``length`` words, each counted as often as in both."""
    found, wanted = _count_runs(answer, length), _count_runs(expected, length)
    if not found or not wanted:
        return 0.0
    shared = (found & wanted).total()
    return 2.0 * shared / (found.total() + wanted.total())


def _count_runs(text: str, length: int) -> Counter[tuple[str, ...]]:
    words = split_words(text)
    return Counter(tuple(words[at : at + length]) for at in range(len(words) - length + 1))
