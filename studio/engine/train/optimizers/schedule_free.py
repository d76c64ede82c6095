"""Schedule-free AdamW: a running average takes the place of a falling learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from studio.core.recipe.schema_train import TrainSettings
from studio.engine.train.own_optimizer import OwnOptimizer

_MIX = 0.9
"""How near to the average the gradients are taken; the paper's beta 1."""

_MEMORY = 0.999
_EPSILON = 1e-8


class ScheduleFree(OwnOptimizer):
    """Steps are taken at a point between the fast weights and their average.

    While training, the parameters are that point; what the run is worth is the average, see
    ``averaged``. A step uses the gradients up.

    Source: Defazio et al. 2024, "The Road Less Scheduled" (arXiv 2405.15682), algorithm 1.
    """

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """While it lasts, the parameters are the average; behind it, the same bits as before."""
        moved = [one for group in self.param_groups for one in group["params"] if self.state[one]]
        points = [one.detach().clone() for one in moved]
        with torch.no_grad():
            for one in moved:
                one.lerp_(self.state[one]["fast"], 1 - 1 / _MIX)
        try:
            yield
        finally:
            with torch.no_grad():
                for one, point in zip(moved, points, strict=True):
                    one.copy_(point)

    def _step_group(
        self, pairs: list[tuple[Tensor, Tensor]], rate: float, weight_decay: float
    ) -> None:
        for point, gradient in pairs:
            self._step_one(point, gradient, rate, weight_decay)

    def _step_one(self, point: Tensor, gradient: Tensor, rate: float, weight_decay: float) -> None:
        state = self.state[point]
        if not state:
            # torch leaves the precision of this name alone when a state is loaded
            state["step"] = torch.zeros(3, dtype=torch.float64)
            state["fast"] = point.clone()
            state["square"] = torch.zeros_like(point)
        count, highest, weights = state["step"].tolist()
        highest = max(highest, rate)
        weights += highest**2
        share = highest**2 / weights if weights else 0.0
        state["step"] = torch.tensor([count + 1, highest, weights], dtype=torch.float64)

        fast, square = state["fast"], state["square"]
        square.mul_(_MEMORY).addcmul_(gradient, gradient, value=1 - _MEMORY)
        correction = 1 - _MEMORY ** (count + 1)
        gradient.div_((square / correction).sqrt_().add_(_EPSILON))
        if weight_decay:
            gradient.add_(point, alpha=weight_decay)
        point.lerp_(fast, share).add_(gradient, alpha=rate * (_MIX * (1 - share) - 1))
        fast.sub_(gradient, alpha=rate)


def build(groups: list[dict[str, Any]], settings: TrainSettings) -> torch.optim.Optimizer:
    """Returns schedule-free AdamW over ``groups``; the learning rate is set before every step."""
    return ScheduleFree(groups, settings.learning_rate, settings.weight_decay)
