"""Numbers that break: what counts as broken, and how patient a run is with it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["fine", "suspicious", "exploded", "not_finite"]

_KEEP = 0.9
"""Share of the earlier losses in the running mean."""
_LEAST_STEPS = 5
_SUSPICIOUS_FACTOR, _SUSPICIOUS_NATS = 3.0, 2.0
_HOPELESS_FACTOR, _HOPELESS_NATS = 10.0, 20.0
_SUSPICIOUS_STEPS = 3
_FORGET_STEPS = 200
_CLOSE_STEPS = 2
LAST_ATTEMPT = 3


@dataclass
class LossWatch:
    """Judges each step by its loss before its update is made.

    One strange batch is no explosion: the loss must stay three times above its running mean (and
    2 nats more) for three steps, or be beyond ten times of it (and 20 nats more) once.
    """

    _mean: float = 0.0
    _weight: float = 0.0
    _steps: int = 0
    _suspicious: int = 0

    def judge(self, loss: float, gradient_norm: float) -> Verdict:
        """Returns what to think of a step; remembers its loss if it is fine."""
        if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
            return "not_finite"
        if self._steps >= _LEAST_STEPS:
            mean = self._mean / self._weight
            if loss > _HOPELESS_FACTOR * mean + _HOPELESS_NATS:
                return "exploded"
            if loss > _SUSPICIOUS_FACTOR * mean + _SUSPICIOUS_NATS:
                self._suspicious += 1
                return "exploded" if self._suspicious >= _SUSPICIOUS_STEPS else "suspicious"
        self._suspicious = 0
        self._steps += 1
        self._mean = _KEEP * self._mean + (1 - _KEEP) * loss
        self._weight = _KEEP * self._weight + 1 - _KEEP
        return "fine"

    def go_back(self) -> None:
        """Forgets the suspicious steps: the run is at an earlier state again."""
        self._suspicious = 0


@dataclass
class Troubles:
    """Counts the broken steps that lie close together; ``at`` are places in the data, in steps."""

    at: list[int] = field(default_factory=list)

    @property
    def are_close(self) -> bool:
        """Whether the last two lie so close together that one batch cannot be the reason."""
        return len(self.at) > 1 and self.at[-1] - self.at[-2] <= _CLOSE_STEPS

    def count(self, data_step: int) -> int:
        """Returns how many there are now that ``data_step`` broke too."""
        self.at = [*(one for one in self.at if data_step - one < _FORGET_STEPS), data_step]
        return len(self.at)
