"""Optimizers: one file each, named as in the recipe, with a function ``build``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch

from studio.core.recipe.schema_train import TrainSettings
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.registry import get_capability
from studio.engine.train.optimizers.schedule_free import ScheduleFree


def build_optimizer(adapter: Adapter, settings: TrainSettings) -> torch.optim.Optimizer:
    """Returns the optimizer that the recipe names, over the adapter's parameters in their order.

    Every group has ``ratio``: what its learning rate is multiplied by (LoRA+ for the B matrices).

    Raises:
        NotAvailableYet: There is no such optimizer in this version.
    """
    chosen = get_capability(__name__, __path__, settings.optimizer, "optimizer")
    return cast("torch.optim.Optimizer", chosen.build(_get_groups(adapter, settings), settings))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of every group, times the group's ratio."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["ratio"]


@contextmanager
def show_result(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """While it lasts, the parameters are what the run is worth so far.

    Most optimizers train just that; schedule-free ones keep an average of it.
    """
    if isinstance(optimizer, ScheduleFree):
        with optimizer.averaged():
            yield
    else:
        yield


def _get_groups(adapter: Adapter, settings: TrainSettings) -> list[dict[str, object]]:
    """Returns one group, or one per matrix kind.

    Source: Hayou et al. 2024, "LoRA+: Efficient Low Rank Adaptation of Large Models", section 4.
    """
    if settings.lora_plus_ratio == 1.0:
        return [{"params": adapter.parameters(), "ratio": 1.0}]
    named = list(adapter.named_parameters())
    second = [parameter for name, parameter in named if name.endswith("lora_B")]
    first = [parameter for name, parameter in named if not name.endswith("lora_B")]
    return [
        {"params": first, "ratio": 1.0},
        {"params": second, "ratio": settings.lora_plus_ratio},
    ]
