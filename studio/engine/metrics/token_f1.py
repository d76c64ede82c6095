"""Token F1: how many words answer and expected text share, whatever their order."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

from studio.engine.metrics import Numbers, divide

LABEL = "Word overlap (F1)"
READS: Literal["answer"] = "answer"
IS_HIGHER_BETTER = True
_ARTICLES = {"a", "an", "the"}


def count(answer: str, expected: str, argument: str) -> tuple[float, ...]:
    """Returns the F1 of one row, and 1 row.

    Case, punctuation and English articles do not count. Two texts without words are equal.

    Source: Rajpurkar et al. 2016 (arXiv 1606.05250), section 6.1.
    """
    del argument
    found, wanted = _split(answer), _split(expected)
    if not found or not wanted:
        return float(found == wanted), 1.0
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2.0 * shared / (len(found) + len(wanted)), 1.0


def combine(sums: Numbers) -> Numbers:
    """Returns the mean over rows, 0 to 1."""
    return divide(sums[..., 0], sums[..., 1])


def _split(text: str) -> list[str]:
    plain = re.sub(r"[^\w\s]|_", "", text.lower())
    return [word for word in plain.split() if word not in _ARTICLES]
