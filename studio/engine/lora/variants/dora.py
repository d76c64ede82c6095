"""DoRA: the length of each row of the weights is learnt apart from its direction.

The layer computes ``m / |W + s B A| * (W + s B A) x + b`` with one length m per output. The
vector of norms is treated as a constant in the backward pass, as the paper proposes.
"""

from __future__ import annotations

import torch

HAS_MAGNITUDE = True


def get_scaling(rank: int, alpha: float) -> float:
    """Returns alpha / rank, as for LoRA."""
    return alpha / rank


def compute_norm(weight: torch.Tensor) -> torch.Tensor:
    """Returns the length of each row of ``weight`` ``(out, in)``, as ``(out,)``."""
    norm: torch.Tensor = torch.linalg.vector_norm(weight, dim=1)
    return norm


def rescale(
    output: torch.Tensor,
    magnitude: torch.Tensor,
    norm: torch.Tensor,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    """Returns ``output`` with its part without the bias multiplied by ``magnitude / norm``.

    Args:
        output: ``(…, out)``, what the layer computes with plain LoRA, bias included.
        magnitude: m, broadcastable to ``output``; receives a gradient.
        norm: ``|W + s B A|`` in the shape of ``magnitude``; a constant.
        bias: b in the same shape, or None.

    Source: Liu et al. 2024 (arXiv 2402.09353), equations 5 and 11.
    """
    factor = (magnitude / norm).to(output.dtype)
    if bias is None:
        return output * factor
    bias = bias.to(output.dtype)
    return torch.addcmul(bias - bias * factor, output, factor)
