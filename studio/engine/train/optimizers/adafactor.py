"""Adafactor: remembers one number per row and column of a matrix instead of two per weight."""

from __future__ import annotations

from typing import Any

import torch

from studio.core.recipe.schema_train import TrainSettings

_LEAST_SCALE = 1.0


def build(groups: list[dict[str, Any]], settings: TrainSettings) -> torch.optim.Optimizer:
    """Returns torch's Adafactor over ``groups``; the learning rate is set before every step.

    Its steps are not made smaller for small weights: the second adapter matrix starts at zero and
    would hardly move.

    Source: Shazeer and Stern 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory
    Cost", algorithm 4.
    """
    return torch.optim.Adafactor(
        groups,
        lr=settings.learning_rate,
        eps=(None, _LEAST_SCALE),
        weight_decay=settings.weight_decay,
        foreach=True,
    )
