"""A uniform in +-1/sqrt(in), B zero: the update starts at nothing."""

from __future__ import annotations

import math

import torch

from studio.engine.lora.adapted import AdaptedModule


def initialise(module: AdaptedModule, generator: torch.Generator) -> None:
    """Fills A and B of ``module``.

    The random factor of embeddings is B, standard normal, because A is looked up, not multiplied.

    Source: He et al. 2015 (arXiv 1502.01852) with a = sqrt(5), as in the authors' LoRA code.
    """
    if module.is_lookup:
        torch.nn.init.zeros_(module.lora_A)
        module.fill(module.lora_B, torch.randn(module.lora_B.shape, generator=generator))
        return
    bound = 1.0 / math.sqrt(module.lora_A.shape[1])
    values = torch.empty(module.lora_A.shape).uniform_(-bound, bound, generator=generator)
    module.fill(module.lora_A, values)
    torch.nn.init.zeros_(module.lora_B)
