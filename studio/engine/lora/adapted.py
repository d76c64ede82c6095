"""What every adapted layer has in common: the frozen base, two small matrices and a switch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from studio.engine.lora.variants import get_variant


class AdaptedModule(nn.Module):
    """A frozen layer with a low-rank update beside it.

    ``base`` is the original layer with its weights untouched; every attribute that is not found
    here (``weight``, ``bias``, ``in_features``, …) is looked up there, so that model code which
    reads them keeps working. ``lora_A`` is ``(rank, in)`` and ``lora_B`` is ``(out, rank)``, fp32
    unless told otherwise. ``is_enabled = False`` computes the base alone, without any copy.
    """

    is_lookup = False
    """True where the input is token ids: A is then looked up instead of multiplied."""

    def __init__(
        self,
        base: nn.Module,
        in_features: int,
        out_features: int,
        *,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        variant: str = "plain",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        weight = base.weight
        device = weight.device if isinstance(weight, torch.Tensor) else None
        self.base = base
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.scaling = get_variant(variant).get_scaling(rank, alpha)
        self.is_enabled = True
        self.lora_A = nn.Parameter(torch.zeros(rank, in_features, dtype=dtype, device=device))
        self.lora_B = nn.Parameter(torch.zeros(out_features, rank, dtype=dtype, device=device))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base":  # not built yet: do not look for the base in the base
                raise
            return getattr(self.base, name)

    def fill(self, parameter: nn.Parameter, values: torch.Tensor) -> None:
        """Copies ``values`` into one of the two matrices, whatever its device and dtype."""
        with torch.no_grad():
            parameter.copy_(values)

    @torch.no_grad()
    def get_delta(self) -> torch.Tensor:
        """Returns the update ``s B A`` in fp32, in the layout of the base's own weight."""
        return self.to_base_layout(self.lora_B.float() @ self.lora_A.float() * self.scaling)

    @torch.no_grad()
    def get_merged_weight(self) -> torch.Tensor:
        """Returns the base's weight plus the update in fp32, in the layout of the base's weight."""
        weight: torch.Tensor = self.base.weight  # type: ignore[assignment]  # nn.Module is untyped
        return weight.float() + self.get_delta()

    def to_base_layout(self, delta: torch.Tensor) -> torch.Tensor:
        """Returns ``delta`` of ``(out, in)`` in the layout of the base's weight."""
        return delta

    def extra_repr(self) -> str:
        """Returns the rank, the scaling and whether the update is on, for printing the model."""
        return f"rank={self.rank}, scaling={self.scaling:g}, is_enabled={self.is_enabled}"
