"""How sure a measured value is: percentile intervals from rows drawn again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
_DRAWS = 2000
_CHUNK = 100
_LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value and the interval in which it lies with 95 % confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A value minus that of the base on the same rows, its interval, and its chance by luck.

    ``p_value`` is two-sided and never below that of a sign test in which all rows agree: two or
    three rows prove nothing, however far apart their values are.
    """

    value: float
    low: float
    high: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out zero and there are rows enough to say so."""
        return (self.low > 0 or self.high < 0) and self.p_value < 1 - _LEVEL


class Bootstrap:
    """Draws as many rows as there are, with replacement, always the same draws.

    Source: Efron 1979, "Bootstrap Methods: Another Look at the Jackknife"; for pairs of systems
    on the same rows Koehn 2004, "Statistical Significance Tests for Machine Translation
    Evaluation".
    """

    def __init__(self, rows: int, *, draws: int = _DRAWS, seed: int = 0) -> None:
        self._rows = rows
        self._draws = draws
        self._seed = seed

    def estimate(self, counts: Numbers, combine: Callable[[Numbers], Numbers]) -> Estimate:
        """Returns the value of all rows from their numbers ``(rows, numbers)``."""
        drawn = combine(self._sum(counts))
        return Estimate(float(combine(counts.sum(axis=0))), *_find_interval(drawn))

    def compare(
        self, counts: Numbers, base: Numbers, combine: Callable[[Numbers], Numbers]
    ) -> Difference:
        """Returns how far ``counts`` are from those of ``base`` on the same rows."""
        value = float(combine(counts.sum(axis=0)) - combine(base.sum(axis=0)))
        drawn = combine(self._sum(counts)) - combine(self._sum(base))
        beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
        least = 2.0 ** (1 - self._rows)
        p_value = min(1.0, max(least, 2 * (beyond + 1) / (self._draws + 1)))
        return Difference(value, *_find_interval(drawn), p_value)

    def _sum(self, counts: Numbers) -> Numbers:
        """Returns the sums over the drawn rows, ``(draws, numbers)``."""
        generator = np.random.RandomState(self._seed)
        sums = []
        for start in range(0, self._draws, _CHUNK):
            draws = min(_CHUNK, self._draws - start)
            chosen = generator.randint(0, self._rows, size=(draws, self._rows))
            weights = np.stack([np.bincount(one, minlength=self._rows) for one in chosen])
            sums.append(weights @ counts)
        found: Numbers = np.concatenate(sums)
        return found


def _find_interval(drawn: Numbers) -> tuple[float, float]:
    low, high = np.percentile(drawn, [50 * (1 - _LEVEL), 50 * (1 + _LEVEL)])
    return float(low), float(high)
