"""JSON validity: the share of answers that are one valid JSON value."""

from __future__ import annotations

import json
from typing import Literal, NoReturn

from studio.engine.metrics import Numbers, divide

LABEL = "Valid JSON"
READS: Literal["answer"] = "answer"
IS_HIGHER_BETTER = True


def count(answer: str, expected: str, argument: str) -> tuple[float, ...]:
    """Returns 1 or 0, and 1 row. Source: RFC 8259, which knows no NaN and no infinity."""
    del expected, argument
    try:
        json.loads(answer, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return 0.0, 1.0
    return 1.0, 1.0


def combine(sums: Numbers) -> Numbers:
    """Returns the share, 0 to 1."""
    return divide(sums[..., 0], sums[..., 1])


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
