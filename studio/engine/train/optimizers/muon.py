"""Muon: steps at right angles, so that a matrix moves in all its directions at once."""

from __future__ import annotations

from typing import Any

import torch

from studio.core.errors import RecipeInvalid
from studio.core.recipe.schema_train import TrainSettings


def build(groups: list[dict[str, Any]], settings: TrainSettings) -> torch.optim.Optimizer:
    """Returns torch's own Muon over ``groups``; the learning rate is set before every step.

    The steps are scaled so that rates tuned for AdamW fit.

    Raises:
        RecipeInvalid: Something that is trained is no matrix.

    Source: Jordan et al. 2024, "Muon"; the scale of Liu et al. 2025 (arXiv 2502.16982), eq. 4.
    """
    shapes = [tuple(one.shape) for group in groups for one in group["params"]]
    others = [shape for shape in shapes if len(shape) != 2]
    if others:
        raise RecipeInvalid(
            f"train.optimizer: muon trains matrices only, but {len(others)} of the trained parts "
            f"are none (the first has the shape {others[0]}).",
            "Set the optimizer to adamw, or leave out the variant dora, experts in one piece and "
            "modules trained in full.",
        )
    return torch.optim.Muon(
        groups,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
