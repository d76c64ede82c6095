"""A low-rank update beside GPT-2's ``Conv1D``, a linear layer with transposed weights."""

from __future__ import annotations

import torch

from studio.engine.lora.linear import AdaptedLinear


class AdaptedConv1D(AdaptedLinear):
    """``W x + b + s B A dropout(x)`` with the base's weight stored as ``(in, out)``."""

    def to_base_layout(self, delta: torch.Tensor) -> torch.Tensor:
        """Returns ``delta`` of ``(out, in)`` as ``(in, out)``."""
        return delta.t()
