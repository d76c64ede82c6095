"""Lion: steps of equal size in the direction of a momentum; half the memory of AdamW."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from studio.core.recipe.schema_train import TrainSettings
from studio.engine.train.own_optimizer import OwnOptimizer

_BETAS = (0.9, 0.99)


class Lion(OwnOptimizer):
    """The sign of a mix of momentum and gradient decides the direction of every number."""

    def _step_group(
        self, pairs: list[tuple[Tensor, Tensor]], rate: float, weight_decay: float
    ) -> None:
        for one, _ in pairs:
            if "momentum" not in self.state[one]:
                self.state[one]["momentum"] = torch.zeros_like(one)
        parameters, gradients = map(list, zip(*pairs, strict=True))
        momenta = [self.state[one]["momentum"] for one in parameters]
        directions = torch._foreach_lerp(momenta, gradients, 1 - _BETAS[0])  # noqa: SLF001 - torch has no public name for its list functions
        torch._foreach_sign_(directions)
        if weight_decay:
            torch._foreach_mul_(parameters, 1 - rate * weight_decay)
        torch._foreach_add_(parameters, directions, alpha=-rate)
        torch._foreach_lerp_(momenta, gradients, 1 - _BETAS[1])


def build(groups: list[dict[str, Any]], settings: TrainSettings) -> torch.optim.Optimizer:
    """Returns Lion over ``groups``; the learning rate is set before every step.

    Source: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", program 1.
    """
    return Lion(groups, settings.learning_rate, settings.weight_decay)
