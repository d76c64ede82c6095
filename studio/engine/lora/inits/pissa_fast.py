"""PiSSA from an approximate decomposition, many times faster on large layers."""

from __future__ import annotations

import torch

from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.inits.pissa import start_from

_EXTRA_DIRECTIONS = 8
_ROUNDS = 4


def initialise(module: AdaptedModule, generator: torch.Generator) -> None:
    """Fills A and B of ``module``; the layer computes as its base, whatever the approximation.

    Source: Halko et al. 2011 (arXiv 0909.4061), algorithms 4.4 and 5.1, with four rounds of
    subspace iteration, as Meng et al. 2024 (arXiv 2404.02948) use for their fast variant.
    """
    weight = module.get_base_matrix()
    count = min(module.rank + _EXTRA_DIRECTIONS, *weight.shape)
    # Drawn on the processor, so that the start does not depend on the device.
    probe = torch.randn(weight.shape[1], count, generator=generator).to(weight)
    basis, _ = torch.linalg.qr(weight @ probe)
    for _ in range(_ROUNDS):
        back, _ = torch.linalg.qr(weight.t() @ basis)
        basis, _ = torch.linalg.qr(weight @ back)
    left, values, right = torch.linalg.svd(basis.t() @ weight, full_matrices=False)
    start_from(module, basis @ left, values, right, generator)
