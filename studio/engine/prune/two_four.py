"""Of each four neighbouring inputs the two smallest become zero: what NVIDIA cards compute fast."""

from __future__ import annotations

import torch

from studio.core.errors import RecipeInvalid


def find_kept(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Returns which numbers of ``weight`` ``(outputs, inputs)`` stay, as booleans.

    Raises:
        RecipeInvalid: The sparsity is not a half, or the inputs cannot be divided by four.

    Source: Mishra et al. 2021 (arXiv 2104.08378), section 2.
    """
    if sparsity != 0.5:
        raise RecipeInvalid("--sparsity must be 0.5 for two_four.", "Leave it out.")
    outputs, inputs = weight.shape
    if inputs % 4:
        raise RecipeInvalid(
            f"A layer has {inputs} inputs, which cannot be grouped by four.",
            "Choose the pattern magnitude.",
        )
    order = weight.abs().reshape(outputs, -1, 4).argsort(dim=2, stable=True)
    kept = torch.ones_like(order, dtype=torch.bool).scatter_(2, order[..., :2], value=False)
    return kept.reshape(outputs, inputs)
