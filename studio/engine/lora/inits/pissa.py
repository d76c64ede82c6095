"""A and B from the largest singular values of the weights: their main directions are trained."""

from __future__ import annotations

import torch

from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.inits.kaiming import initialise as initialise_rest


def initialise(module: AdaptedModule, generator: torch.Generator) -> None:
    """Fills A and B of ``module`` from an exact decomposition; the layer computes as its base.

    Source: Meng et al. 2024 (arXiv 2404.02948), equations 2 to 4.
    """
    left, values, right = torch.linalg.svd(module.get_base_matrix(), full_matrices=False)
    start_from(module, left, values, right, generator)


def start_from(
    module: AdaptedModule,
    left: torch.Tensor,
    values: torch.Tensor,
    right: torch.Tensor,
    generator: torch.Generator,
) -> None:
    """Starts ``module`` at the largest parts of ``left @ diag(values) @ right``.

    ``left`` is ``(out, count)``, ``values`` ``(count,)`` in falling order, ``right`` is
    ``(count, in)``. Ranks that the weights do not have start as nothing.
    """
    initialise_rest(module, generator)
    count = min(module.rank, len(values))
    roots = (values[:count] / module.scaling).sqrt()
    lora_a, lora_b = module.lora_A.detach().clone(), module.lora_B.detach().clone()
    lora_a[:count] = roots[:, None] * right[:count]
    lora_b[:, :count] = left[:, :count] * roots
    lora_b[:, count:] = 0.0
    module.fill(module.lora_A, lora_a)
    module.fill(module.lora_B, lora_b)
    module.set_start(lora_a, lora_b)
