"""How far a run has come: everything about it that is neither a weight nor a random generator."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Progress:
    """The state of a run after ``step`` optimizer steps.

    ``best_loss`` is the lowest validation loss, measured after ``best_step`` steps;
    ``stale_evaluations`` counts the validations since then, and ``evaluated_step`` is when the
    last of them was. ``skipped_steps`` steps of the data were left out because they broke,
    ``rate_factor`` multiplies the planned learning rate, and ``micro_batch_tokens`` replaces the
    recipe's after memory ran out or steps of several sizes were timed.
    """

    step: int = 0
    best_loss: float | None = None
    best_step: int | None = None
    stale_evaluations: int = 0
    evaluated_step: int = 0
    skipped_steps: int = 0
    rate_factor: float = 1.0
    micro_batch_tokens: int | None = None

    @property
    def data_step(self) -> int:
        """How many steps of the data are behind the run."""
        return self.step + self.skipped_steps

    def after_step(self) -> Progress:
        """Returns the progress one step further."""
        return replace(self, step=self.step + 1)

    def behind_data(self, data_step: int) -> Progress:
        """Returns this progress, to go on with the data behind ``data_step`` steps of it."""
        return replace(self, skipped_steps=data_step - self.step)

    def after_evaluation(self, loss: float) -> Progress:
        """Returns the progress with a validation loss taken into account."""
        is_best = self.best_loss is None or loss < self.best_loss
        if is_best and math.isfinite(loss):
            return replace(
                self,
                best_loss=loss,
                best_step=self.step,
                stale_evaluations=0,
                evaluated_step=self.step,
            )
        return replace(self, stale_evaluations=self.stale_evaluations + 1, evaluated_step=self.step)
