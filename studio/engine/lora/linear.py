"""A low-rank update beside a frozen linear layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import nn

from studio.core.errors import ModelUnusable
from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.function import adapted_linear
from studio.engine.lora.masked import masked_linear
from studio.engine.quant import hold
from studio.engine.quant.none import PlainLinear


class AdaptedLinear(AdaptedModule):
    """``W x + b + s B A dropout(x)``; the base may be any layer that ``quant.hold`` accepts."""

    def __init__(self, base: nn.Module, **settings: Any) -> None:
        frozen = hold(base)
        super().__init__(base, frozen.in_features, frozen.out_features, **settings)
        self.frozen = frozen
        self._sparse: PlainLinear | None = None

    def keep_zeros(self) -> None:
        """Lets the update do nothing to weights of the base that are zero, if there are any.

        Raises:
            ModelUnusable: The base is held in few bits, where other weights are zero than in its
                files.
        """
        if not isinstance(self.frozen, PlainLinear):
            raise ModelUnusable(
                "An adapter that keeps the zeros of a pruned base needs the weights as they are in "
                "the files; in few bits other ones are zero.",
                "Set base.quantisation to none, or adapter.keep_zeros to false.",
            )
        if self.frozen.device.type == "meta" or bool(self.frozen.find_zeros().any()):
            self._sparse, self.keeps_zeros = self.frozen, True
            self._norm = None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns ``(…, out)`` for ``inputs`` of ``(…, in)``."""
        if not self.is_enabled:
            output: torch.Tensor = self.base(inputs)
            return output
        dropout = self.dropout if self.training else 0.0
        # Drawn from torch's own CPU generator, which checkpointing restores before it computes
        # the layer again and an exact resume restores as well.
        seed = int(torch.randint(2**62, ())) if dropout else 0
        a, b, scaling = *self.get_factors(), self.scaling
        updated = (
            adapted_linear(inputs, self.frozen, a, b, scaling, dropout=dropout, dropout_seed=seed)
            if self._sparse is None
            else masked_linear(
                inputs, self._sparse, a, b, scaling, dropout=dropout, dropout_seed=seed
            )
        )
        return self._rescale(updated, cast("torch.Tensor | None", self.base.bias))

    def get_base_matrix(self) -> torch.Tensor:
        """Returns the base's weight in fp32 as ``(out, in)``."""
        return self.frozen.get_weight()

    def _get_product(self) -> torch.Tensor:
        product = super()._get_product()
        return product if self._sparse is None else product * ~self._sparse.find_zeros()


def keep_zeros(modules: Iterable[AdaptedModule]) -> None:
    """Lets the updates of linear layers do nothing to weights of the base that are zero.

    Raises:
        ModelUnusable: A layer's weights are held in few bits.
    """
    for module in modules:
        if isinstance(module, AdaptedLinear):
            module.keep_zeros()
