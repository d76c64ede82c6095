"""Label accuracy: the share of answers that name the right class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from studio.core.errors import RecipeInvalid
from studio.engine.metrics import Numbers, divide

LABEL = "Right label"
READS: Literal["answer"] = "answer"
IS_HIGHER_BETTER = True


def count(answer: str, expected: str, argument: str) -> tuple[float, ...]:
    """Returns 1 or 0, and 1 row. Case and punctuation do not count.

    With labels in ``argument`` (``positive,negative``) the first one that the answer names must be
    the first that the expected text names. Without, the answer must begin with the expected text.

    Raises:
        RecipeInvalid: ``argument`` holds no label, or one twice.
    """
    if argument:
        labels = _read_labels(argument)
        wanted = find_label(expected, labels)
        return float(wanted is not None and find_label(answer, labels) == wanted), 1.0
    found, words = _normalise(answer), _normalise(expected)
    return float(bool(words) and f"{found} ".startswith(f"{words} ")), 1.0


def combine(sums: Numbers) -> Numbers:
    """Returns the share, 0 to 1."""
    return divide(sums[..., 0], sums[..., 1])


def find_label(text: str, labels: Sequence[str]) -> str | None:
    """Returns the label that ``text`` names first, as whole words; of two there the longer one."""
    padded = f" {_normalise(text)} "
    places = [(padded.find(f" {label} "), -len(label), label) for label in labels]
    return min((one for one in places if one[0] >= 0), default=(0, 0, None))[2]


def _read_labels(argument: str) -> list[str]:
    labels = [_normalise(label) for label in argument.split(",")]
    if not all(labels) or len(set(labels)) != len(labels):
        raise RecipeInvalid(
            f"{argument!r} is no list of labels: each must be there once and hold a letter.",
            "Write them as label_accuracy=positive,negative",
        )
    return labels


def _normalise(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]|_", " ", text.casefold()).split())
