"""PiSSA from an approximate decomposition, many times faster on large layers."""

from __future__ import annotations

import torch

from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.inits.pissa import start_from

_EXTRA_DIRECTIONS = 8
_ROUNDS = 4


def initialise(module: AdaptedModule, generator: torch.Generator) -> None:
    """Fills A and B of ``module``; the layer computes as its base, whatever the approximation."""
    parts = find_main_parts(module.get_base_matrix(), module.rank, generator)
    start_from(module, *parts, generator)


def find_main_parts(
    matrix: torch.Tensor, count: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns about the largest singular values of ``matrix`` ``(out, in)`` and their vectors.

    They are ``left`` ``(out, n)``, ``values`` ``(n,)`` in falling order and ``right`` ``(n, in)``,
    with a few more than ``count`` of them, the last of which are the least exact. ``generator``
    draws on the processor.

    Source: Halko et al. 2011 (arXiv 0909.4061), algorithms 4.4 and 5.1, with four rounds of
    subspace iteration, as Meng et al. 2024 (arXiv 2404.02948) use for their fast variant.
    """
    width = min(count + _EXTRA_DIRECTIONS, *matrix.shape)
    # Drawn on the processor, so that the start does not depend on the device.
    probe = torch.randn(matrix.shape[1], width, generator=generator).to(matrix)
    basis, _ = torch.linalg.qr(matrix @ probe)
    for _ in range(_ROUNDS):
        back, _ = torch.linalg.qr(matrix.t() @ basis)
        basis, _ = torch.linalg.qr(matrix @ back)
    left, values, right = torch.linalg.svd(basis.t() @ matrix, full_matrices=False)
    return basis @ left, values, right
