"""A and B from what quantisation took away: base and adapter start nearer to the original model.

One round of the paper's alternation: the quantised base stays as it is, so that the adapter fits
the same base in four bits anywhere.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from studio.core.errors import ModelUnusable
from studio.core.recipe.schema import AdapterSettings
from studio.engine.held.layer import HeldWeights, Note, QuantisedLayer
from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.inits.kaiming import initialise as initialise_rest
from studio.engine.lora.targets import find_targets

_RESIDUAL = "residual"


def watch(model: nn.Module, settings: AdapterSettings) -> dict[str, Note]:
    """Returns for each layer that gets an adapter what keeps the main part of its loss.

    To be called while the model has no weights yet; they are gone when it is loaded.
    """
    return {
        target.name: partial(_keep_residual, target.module, target.rank)
        for target in find_targets(model, settings)
        if isinstance(target.module, QuantisedLayer)
    }


def initialise(module: AdaptedModule, generator: torch.Generator) -> None:
    """Fills A and B of ``module``; layers that are not quantised start as nothing.

    Source: Li et al. 2023 (arXiv 2310.08659), algorithm 1 with one round.

    Raises:
        ModelUnusable: The weights came quantised, so that nobody knows what they were.
    """
    initialise_rest(module, generator)
    layer = module.base
    if not isinstance(layer, QuantisedLayer):
        return
    residual: tuple[Tensor, Tensor] | None = layer.__dict__.pop(_RESIDUAL, None)
    if residual is None:
        raise ModelUnusable(
            "The files of this base hold its weights quantised; what they were before is not "
            "known, so that loftq cannot make up for it.",
            "Choose the original model, or the start values kaiming.",
        )
    lora_a, lora_b = (part / module.scaling**0.5 for part in residual)
    module.fill(module.lora_A, lora_a)
    module.fill(module.lora_B, lora_b)


def _keep_residual(layer: QuantisedLayer, rank: int, weight: Tensor, held: HeldWeights) -> None:
    """Keeps with ``layer`` the product of rank ``rank`` nearest to what was lost."""
    left, values, right = torch.linalg.svd(weight.float() - held.unfold(), full_matrices=False)
    count = min(rank, len(values))
    roots = values[:count].sqrt()
    lora_a = weight.new_zeros((rank, weight.shape[1]), dtype=torch.float32)
    lora_b = weight.new_zeros((weight.shape[0], rank), dtype=torch.float32)
    lora_a[:count] = roots[:, None] * right[:count]
    lora_b[:, :count] = left[:, :count] * roots
    layer.__dict__[_RESIDUAL] = (lora_a, lora_b)
