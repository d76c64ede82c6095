"""What our own optimizers share: the loop over groups of parameters, and the step of AdamW."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_BETAS = (0.9, 0.999)
_EPS = 1e-8


class OwnOptimizer(torch.optim.Optimizer, ABC):
    """An optimizer that says what a step does to the parameters of a group."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, weight_decay: float) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # torch returns the closure's loss, which nobody asks for here
        """Updates the parameters that have gradients."""
        del closure
        for group in self.param_groups:
            pairs = [(one, one.grad) for one in group["params"] if one.grad is not None]
            if pairs:
                self._step_group(pairs, group["lr"], group["weight_decay"])

    @abstractmethod
    def _step_group(
        self, pairs: list[tuple[Tensor, Tensor]], rate: float, weight_decay: float
    ) -> None:
        """Updates parameters, each given with its gradient."""


def take_adamw_step(
    parameter: Tensor,
    gradient: Tensor,
    moments: tuple[Tensor, Tensor],
    step: int,
    rate: float,
    weight_decay: float,
) -> None:
    """Updates both moments in place, float32 and of the parameter's shape, then the parameter.

    Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2.
    """
    first, second = moments
    gradient = gradient.float()
    first.lerp_(gradient, 1 - _BETAS[0])
    second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
    parameter.mul_(1 - rate * weight_decay)
    size = (second / (1 - _BETAS[1] ** step)).sqrt_().add_(_EPS)
    parameter.addcdiv_(first.to(parameter.dtype), size, value=-rate / (1 - _BETAS[0] ** step))
