"""A low-rank update beside a frozen linear layer."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.function import adapted_linear
from studio.engine.quant import hold


class AdaptedLinear(AdaptedModule):
    """``W x + b + s B A dropout(x)``; the base may be any layer that ``quant.hold`` accepts."""

    def __init__(self, base: nn.Module, **settings: Any) -> None:
        frozen = hold(base)
        super().__init__(base, frozen.in_features, frozen.out_features, **settings)
        self.frozen = frozen

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns ``(…, out)`` for ``inputs`` of ``(…, in)``."""
        if not self.is_enabled:
            output: torch.Tensor = self.base(inputs)
            return output
        dropout = self.dropout if self.training else 0.0
        # Drawn from torch's own CPU generator, which checkpointing restores before it computes
        # the layer again and an exact resume restores as well.
        seed = int(torch.randint(2**62, ())) if dropout else 0
        updated = adapted_linear(
            inputs,
            self.frozen,
            *self.get_factors(),
            self.scaling,
            dropout=dropout,
            dropout_seed=seed,
        )
        return self._rescale(updated, cast("torch.Tensor | None", self.base.bias))

    def get_base_matrix(self) -> torch.Tensor:
        """Returns the base's weight in fp32 as ``(out, in)``."""
        return self.frozen.get_weight()
