"""Regular expression: the share of answers in which a pattern of the user's own is found."""

from __future__ import annotations

import re
from typing import Literal

from studio.core.errors import RecipeInvalid
from studio.engine.metrics import Numbers, divide

LABEL = "Matches a pattern"
READS: Literal["answer"] = "answer"
IS_HIGHER_BETTER = True


def count(answer: str, expected: str, argument: str) -> tuple[float, ...]:
    """Returns 1 or 0, and 1 row.

    Raises:
        RecipeInvalid: ``argument`` is no pattern.
    """
    del expected
    if not argument:
        raise RecipeInvalid("The metric regex needs a pattern.", r"Write it as regex=^\d+$")
    try:
        return float(re.search(argument, answer) is not None), 1.0
    except re.error as error:
        raise RecipeInvalid(
            f"{argument!r} is no regular expression: {error}.", r"Write one such as regex=^\d+$"
        ) from error


def combine(sums: Numbers) -> Numbers:
    """Returns the share, 0 to 1."""
    return divide(sums[..., 0], sums[..., 1])
