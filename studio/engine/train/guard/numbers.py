"""Numbers that break: what counts as broken, and how patient a run is with it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

Verdict = Literal["fine", "suspicious", "exploded", "not_finite"]

_LEAST_STEPS = 6
_WINDOW_STEPS, _LAG_STEPS = 64, 8
"""How many earlier losses a step is compared with, and how many of the last ones are not yet among
them: so that losses which rise step by step are not compared with each other."""
_LEAST_MARGIN = 1.0
_MARGIN_SPREADS = 3.0
_TO_DEVIATION = 1.4826
"""The standard deviation of normal numbers in median absolute deviations."""
_HOPELESS_NATS = 20.0
"""Guessing by chance costs at most 12.5 nats (among 256,000 tokens): what is this much worse than
all before has broken, however strange the batch."""
_SUSPICIOUS_STEPS = 3
_FORGET_STEPS = 200
_CLOSE_STEPS = 2
LAST_ATTEMPT = 3


@dataclass
class LossWatch:
    """Judges each step by its loss before its update is made.

    A step is suspicious when its loss lies above all of the last 64 by a margin: 1 nat (the right
    tokens have become 2.7 times less likely), or three times the spread of those losses where that
    is more. The spread is the median absolute deviation, which single strange batches do not move.
    Three suspicious steps in a row are an explosion. No shape of the noise is assumed: that the
    three highest of 67 losses come last, by chance, happens once in 47,905 steps, and then
    the margin is still missing. While fewer losses are known, the margin is as much wider. What was
    suspicious and passed by was a strange batch, and counts
    among the losses that are to be expected.
    """

    _losses: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW_STEPS + _LAG_STEPS))
    _suspicious: list[float] = field(default_factory=list)

    def judge(self, loss: float, gradient_norm: float) -> Verdict:
        """Returns what to think of a step; remembers its loss if it is fine."""
        if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
            return "not_finite"
        if len(self._losses) >= _LEAST_STEPS:
            highest, margin = self._get_limit()
            if loss > highest + max(margin, _HOPELESS_NATS):
                return "exploded"
            if loss > highest + margin:
                self._suspicious.append(loss)
                is_explosion = len(self._suspicious) >= _SUSPICIOUS_STEPS
                return "exploded" if is_explosion else "suspicious"
        self._losses.extend((*self._suspicious, loss))
        self._suspicious.clear()
        return "fine"

    def go_back(self) -> None:
        """Forgets the suspicious steps: the run is at an earlier state again."""
        self._suspicious.clear()

    def _get_limit(self) -> tuple[float, float]:
        """Returns the highest of the losses to compare with, and the margin above it."""
        known = list(self._losses)
        known = known[: len(known) - min(_LAG_STEPS, len(known) // 4)]
        middle = median(known)
        spread = _TO_DEVIATION * median(abs(loss - middle) for loss in known)
        margin = max(_LEAST_MARGIN, _MARGIN_SPREADS * spread)
        return max(known), margin * _WINDOW_STEPS / len(known)


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
