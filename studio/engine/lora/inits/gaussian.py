"""A normal with deviation 1/rank, B zero: the update starts at nothing."""

from __future__ import annotations

import torch

from studio.engine.lora.adapted import AdaptedModule


def initialise(module: AdaptedModule, generator: torch.Generator) -> None:
    """Fills A and B of ``module``.

    The random factor of embeddings is B, standard normal, because A is looked up, not multiplied.

    Source: Hu et al. 2021 (arXiv 2106.09685), section 4.1: random Gaussian for A, zero for B.
    """
    random, zero = (
        (module.lora_B, module.lora_A) if module.is_lookup else (module.lora_A, module.lora_B)
    )
    deviation = 1.0 if module.is_lookup else 1.0 / module.rank
    module.fill(random, torch.randn(random.shape, generator=generator) * deviation)
    torch.nn.init.zeros_(zero)
