"""The product with a frozen weight that is nowhere kept unfolded, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from studio.engine.quant import FrozenLinear


def get_compute_dtype(frozen: FrozenLinear) -> torch.dtype:
    """Returns the dtype in which the products of a layer are computed at this moment."""
    own = frozen.compute_dtype
    kind = frozen.device.type
    # autocast itself leaves float64 alone
    if own != torch.float64 and kind != "meta" and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return own


def frozen_product(inputs: Tensor, frozen: FrozenLinear) -> Tensor:
    """Returns ``W x + b``, ``(…, out)``, in the compute dtype; only ``inputs`` get a gradient.

    Nothing is kept for the backward pass, which unfolds the weight once more.
    """
    if not (torch.is_grad_enabled() and inputs.requires_grad):
        return _project(inputs, frozen)
    apply: Callable[..., Tensor] = _FrozenProduct.apply
    return apply(inputs, frozen)


def _project(inputs: Tensor, frozen: FrozenLinear) -> Tensor:
    rows = inputs.reshape(-1, inputs.shape[-1]).to(get_compute_dtype(frozen))
    output = frozen.project(rows)
    # Not a view, which the model could not change in place afterwards.
    return output.resize_(*inputs.shape[:-1], output.shape[-1])


class _FrozenProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, frozen: FrozenLinear) -> Tensor:
        ctx.frozen, ctx.input_shape, ctx.input_dtype = frozen, inputs.shape, inputs.dtype
        return _project(inputs, frozen)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor, None]:
        rows = gradients.reshape(-1, gradients.shape[-1])
        back = ctx.frozen.project_back(rows)
        return back.reshape(ctx.input_shape).to(ctx.input_dtype), None
