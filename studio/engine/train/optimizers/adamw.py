"""AdamW in torch's fused form: one kernel over all parameters."""

from __future__ import annotations

from typing import Any

import torch

from studio.core.recipe.schema_train import TrainSettings


def build(groups: list[dict[str, Any]], settings: TrainSettings) -> torch.optim.Optimizer:
    """Returns AdamW over ``groups``; the learning rate is set before every step.

    Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization".
    """
    device = groups[0]["params"][0].device
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=settings.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
