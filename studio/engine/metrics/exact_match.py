"""Exact match: the share of answers that are the expected text, blanks around it aside."""

from __future__ import annotations

from typing import Literal

from studio.engine.metrics import Numbers, divide

LABEL = "Exact match"
READS: Literal["answer"] = "answer"
IS_HIGHER_BETTER = True


def count(answer: str, expected: str, argument: str) -> tuple[float, ...]:
    """Returns 1 or 0, and 1 row."""
    del argument
    return float(answer.strip() == expected.strip()), 1.0


def combine(sums: Numbers) -> Numbers:
    """Returns the share, 0 to 1."""
    return divide(sums[..., 0], sums[..., 1])
