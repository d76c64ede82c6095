"""ROUGE-L: the longest sequence of words that answer and expected text have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from studio.engine.metrics import Numbers, divide

LABEL = "Common sequence (ROUGE-L)"
READS: Literal["answer"] = "answer"
IS_HIGHER_BETTER = True


def count(answer: str, expected: str, argument: str) -> tuple[float, ...]:
    """Returns the F-measure of one row, and 1 row; words are runs of letters and digits.

    Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3.1.
    """
    del argument
    found, wanted = split_words(answer), split_words(expected)
    if not found or not wanted:
        return 0.0, 1.0
    return 2.0 * count_common(found, wanted) / (len(found) + len(wanted)), 1.0


def combine(sums: Numbers) -> Numbers:
    """Returns the mean over rows, 0 to 1."""
    return divide(sums[..., 0], sums[..., 1])


def count_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence."""
    best = [0] * (len(other) + 1)
    for word in one:
        diagonal = 0
        for place, rival in enumerate(other, start=1):
            above = best[place]
            best[place] = diagonal + 1 if word == rival else max(above, best[place - 1])
            diagonal = above
    return best[-1]


def split_words(text: str) -> list[str]:
    """Returns the runs of letters and digits of any script, in small letters."""
    return re.findall(r"[^\W_]+", text.lower())
