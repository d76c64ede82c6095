"""The autograd function of layers whose update leaves the zeros of a pruned base alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.autograd.function import once_differentiable

from studio.engine.held.product import get_compute_dtype
from studio.engine.lora.function import draw_mask
from studio.engine.quant import FrozenLinear


class SparseLinear(FrozenLinear, Protocol):
    """A frozen linear map some of whose weights are zero."""

    def find_zeros(self) -> torch.Tensor:
        """Returns which weights are zero, as booleans ``(out, in)``."""
        ...


def masked_linear(
    inputs: torch.Tensor,
    frozen: SparseLinear,
    lora_a: torch.Tensor,
    lora_b: torch.Tensor,
    scaling: float,
    *,
    dropout: float = 0.0,
    dropout_seed: int = 0,
) -> torch.Tensor:
    """Returns ``W x + b + (M * scaling * B A) dropout(x)``, M being 0 where W is and else 1.

    Dtypes and arguments are those of ``adapted_linear``. A masked product has no short cut: the
    update is formed as a matrix, forward and backward, and its gradient too, so that a layer takes
    five large products where the plain one takes two. Kept for the backward pass is ``x`` only.

    Source: Hu et al. 2021 (arXiv 2106.09685), section 4.1, with the update multiplied by M.
    """
    apply: Callable[..., torch.Tensor] = _MaskedLinear.apply
    return apply(inputs, lora_a, lora_b, frozen, scaling, dropout, dropout_seed)


class _MaskedLinear(torch.autograd.Function):
    """Shapes inside: x (rows, in), delta (out, in), y (rows, out)."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        lora_a: torch.Tensor,
        lora_b: torch.Tensor,
        frozen: SparseLinear,
        scaling: float,
        dropout: float,
        seed: int,
    ) -> torch.Tensor:
        dtype = get_compute_dtype(frozen)
        x = inputs.reshape(-1, inputs.shape[-1]).to(dtype)
        seen = x * draw_mask(x, dropout, seed) if dropout else x
        factor = scaling / (1.0 - dropout)
        y = frozen.project(x)
        # W and the update are not added up first: in 16 bits small updates would be rounded away.
        torch.addmm(y, seen, _form(frozen, lora_a, lora_b, factor, dtype).t(), out=y)
        _, needs_a, needs_b, *_ = ctx.needs_input_grad
        ctx.save_for_backward(x if needs_a or needs_b else None, lora_a, lora_b)
        ctx.frozen, ctx.factor, ctx.dropout, ctx.seed = frozen, factor, dropout, seed
        ctx.input_shape, ctx.input_dtype = inputs.shape, inputs.dtype
        return y.resize_(*inputs.shape[:-1], y.shape[-1])  # not a view, as in adapted_linear

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, lora_a, lora_b = ctx.saved_tensors
        needs_x, needs_a, needs_b, *_ = ctx.needs_input_grad
        g = gradients.reshape(-1, gradients.shape[-1])
        shape = (g.shape[0], lora_a.shape[1])
        mask = draw_mask(g.new_empty(shape), ctx.dropout, ctx.seed) if ctx.dropout else None
        grad_x = grad_a = grad_b = None
        if needs_a or needs_b:
            whole = g.t() @ (x if mask is None else x * mask)
            whole.masked_fill_(ctx.frozen.find_zeros(), 0.0)
            if needs_a:
                grad_a = (lora_b.to(g.dtype).t() @ whole).to(lora_a.dtype).mul_(ctx.factor)
            if needs_b:
                grad_b = (whole @ lora_a.to(g.dtype).t()).to(lora_b.dtype).mul_(ctx.factor)
            del whole
        if needs_x:
            grad_x = ctx.frozen.project_back(g)
            delta = _form(ctx.frozen, lora_a, lora_b, ctx.factor, g.dtype)
            if mask is None:
                torch.addmm(grad_x, g, delta, out=grad_x)
            else:
                grad_x.addcmul_(g @ delta, mask)
            grad_x = grad_x.reshape(ctx.input_shape).to(ctx.input_dtype)
        return grad_x, grad_a, grad_b, None, None, None, None


def _form(
    frozen: SparseLinear,
    lora_a: torch.Tensor,
    lora_b: torch.Tensor,
    factor: float,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Returns the masked update ``(out, in)``."""
    delta = (lora_b.to(dtype) @ lora_a.to(dtype)).mul_(factor)
    return delta.masked_fill_(frozen.find_zeros(), 0.0)
