"""chrF: how many runs of one to six characters answer and expected text share."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np

from studio.engine.metrics import Numbers, divide

LABEL = "Character overlap (chrF)"
READS: Literal["answer"] = "answer"
IS_HIGHER_BETTER = True
_ORDER = 6
_BETA = 2.0


def count(answer: str, expected: str, argument: str) -> tuple[float, ...]:
    """Returns for each length the runs of the answer, of the expected text, and the shared ones.

    Blanks do not count.
    """
    del argument
    found, wanted = "".join(answer.split()), "".join(expected.split())
    numbers: list[float] = []
    for length in range(1, _ORDER + 1):
        runs, others = _count_runs(found, length), _count_runs(wanted, length)
        written = sum(runs.values()) if others else 0
        shared = sum((runs & others).values())
        numbers += [float(written), float(sum(others.values())), float(shared)]
    return tuple(numbers)


def combine(sums: Numbers) -> Numbers:
    """Returns the chrF of all rows together, 0 to 100: precision and recall, recall twice as heavy.

    Source: Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation".
    """
    parts = sums.reshape(*sums.shape[:-1], _ORDER, 3)
    written, wanted, shared = parts[..., 0], parts[..., 1], parts[..., 2]
    counts = (written > 0) & (wanted > 0)
    orders = counts.sum(axis=-1).astype(np.float64)
    precision = divide((divide(shared, written) * counts).sum(axis=-1), orders)
    recall = divide((divide(shared, wanted) * counts).sum(axis=-1), orders)
    weight = _BETA**2
    return 100 * divide((1 + weight) * precision * recall, weight * precision + recall)


def _count_runs(text: str, length: int) -> Counter[str]:
    return Counter(text[at : at + length] for at in range(len(text) - length + 1))
