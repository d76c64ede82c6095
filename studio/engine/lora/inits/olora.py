"""A and B from a QR decomposition of the weights: B starts with orthogonal columns."""

from __future__ import annotations

import torch

from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.inits.kaiming import initialise as initialise_rest


def initialise(module: AdaptedModule, generator: torch.Generator) -> None:
    """Fills A and B of ``module``; the layer computes as its base.

    Source: Büyükakyüz 2024 (arXiv 2406.01775), algorithm 1.
    """
    initialise_rest(module, generator)
    columns, rows = torch.linalg.qr(module.get_base_matrix())
    count = min(module.rank, len(rows))
    lora_a, lora_b = module.lora_A.detach().clone(), module.lora_B.detach().clone()
    lora_a[:count] = rows[:count]
    lora_b[:, :count] = columns[:, :count]
    lora_b[:, count:] = 0.0
    module.fill(module.lora_A, lora_a)
    module.fill(module.lora_B, lora_b)
    module.set_start(lora_a, lora_b)
