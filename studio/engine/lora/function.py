"""The one autograd function of all adapted linear layers: ``y = W x + b + s B (A x)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from studio.engine.held.product import get_compute_dtype
from studio.engine.lora.low_rank import LowRankProduct
from studio.engine.lora.row_blocks import needs_blocks, split_rows
from studio.engine.quant import FrozenLinear


def adapted_linear(
    inputs: torch.Tensor,
    frozen: FrozenLinear,
    lora_a: torch.Tensor,
    lora_b: torch.Tensor,
    scaling: float,
    *,
    dropout: float = 0.0,
    dropout_seed: int = 0,
) -> torch.Tensor:
    """Returns ``W x + b + scaling * B A dropout(x)``, ``(…, out)``, in the compute dtype.

    The compute dtype is autocast's where autocast is on, else the frozen weights'; adapters in
    fp32 are rounded to it for the products and receive their gradients in fp32. Kept for the
    backward pass are ``x`` and ``A x`` only; no gradient of W is ever formed, and the random
    mask of dropout is drawn again from its seed.

    Args:
        inputs: ``(…, in)``, any floating dtype.
        frozen: The map ``W x + b``.
        lora_a: A, ``(rank, in)``.
        lora_b: B, ``(out, rank)``.
        scaling: The factor s, for example alpha / rank.
        dropout: Share of the entries of ``x`` that the adapter does not see, in [0, 1).
        dropout_seed: Decides which entries; the same seed draws the same mask.

    Source: Hu et al. 2021 (arXiv 2106.09685), section 4.1.
    """
    apply: Callable[..., torch.Tensor] = _AdaptedLinear.apply
    return apply(inputs, lora_a, lora_b, frozen, scaling, dropout, dropout_seed)


class _AdaptedLinear(torch.autograd.Function):
    """Shapes inside: x (rows, in), hidden (rows, rank), y (rows, out)."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        lora_a: torch.Tensor,
        lora_b: torch.Tensor,
        frozen: FrozenLinear,
        scaling: float,
        dropout: float,
        seed: int,
    ) -> torch.Tensor:
        dtype = get_compute_dtype(frozen)
        x = inputs.reshape(-1, inputs.shape[-1]).to(dtype)
        factor = scaling / (1.0 - dropout)
        _, needs_a, needs_b, *_ = ctx.needs_input_grad
        ctx.frozen, ctx.factor, ctx.dropout, ctx.seed = frozen, factor, dropout, seed
        ctx.input_shape, ctx.input_dtype = inputs.shape, inputs.dtype
        ctx.in_blocks = not dropout and needs_blocks(frozen, dtype, len(x))
        if ctx.in_blocks:
            product = LowRankProduct(frozen, lora_a, lora_b, factor, dtype)
            y, hidden = _compute_blocks(product, x, lora_a.shape[0])
            ctx.save_for_backward(x, hidden, lora_a, lora_b)
            return y.resize_(*inputs.shape[:-1], y.shape[-1])
        # The mask is 0 or 1; its factor 1 / (1 - p) moves into the scaling, which costs nothing
        # and is not rounded.
        seen = x * draw_mask(x, dropout, seed) if dropout else x
        hidden = seen @ lora_a.to(dtype).t()
        y = frozen.project(x)
        # out= instead of addmm_, which torch's FLOP counter does not see
        torch.addmm(y, hidden, lora_b.to(dtype).t(), alpha=factor, out=y)
        ctx.save_for_backward(x if needs_a else None, hidden if needs_b else None, lora_a, lora_b)
        # Not a view, which the model could not change in place afterwards, as Falcon's does.
        return y.resize_(*inputs.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, hidden, lora_a, lora_b = ctx.saved_tensors
        needs_x, needs_a, needs_b, *_ = ctx.needs_input_grad
        g = gradients.reshape(-1, gradients.shape[-1])
        if ctx.in_blocks:
            product = LowRankProduct(ctx.frozen, lora_a, lora_b, ctx.factor, x.dtype)
            grad_x = _compute_blocks_back(product, g, x, hidden, needs_x=needs_x)
            if grad_x is not None:
                grad_x = grad_x.reshape(ctx.input_shape).to(ctx.input_dtype)
            return grad_x, *product.take_gradients(), None, None, None, None
        grad_x = grad_a = grad_b = None
        if needs_b:
            grad_b = (g.t() @ hidden).to(lora_b.dtype).mul_(ctx.factor)
        if needs_x or needs_a:
            back = g @ lora_b.to(g.dtype)  # (rows, rank): the small product first, used twice
            shape = (g.shape[0], lora_a.shape[1])
            mask = draw_mask(g.new_empty(shape), ctx.dropout, ctx.seed) if ctx.dropout else None
            if needs_a:
                seen = x if mask is None else x * mask
                grad_a = (back.t() @ seen).to(lora_a.dtype).mul_(ctx.factor)
            if needs_x:
                grad_x = ctx.frozen.project_back(g)
                if mask is None:
                    torch.addmm(grad_x, back, lora_a.to(g.dtype), alpha=ctx.factor, out=grad_x)
                else:
                    grad_x.addcmul_(back @ lora_a.to(g.dtype), mask, value=ctx.factor)
                grad_x = grad_x.reshape(ctx.input_shape).to(ctx.input_dtype)
        return grad_x, grad_a, grad_b, None, None, None, None


def _compute_blocks(
    product: LowRankProduct, x: torch.Tensor, rank: int
) -> tuple[torch.Tensor, torch.Tensor]:
    y, hidden = x.new_empty(len(x), product.frozen.out_features), x.new_empty(len(x), rank)
    for block in split_rows(len(x), x.dtype):
        part = block.open(y)
        small = product.forward(block.take(x), part)
        block.close(y, part)
        if small is not None:
            block.close(hidden, small)
    return y, hidden


def _compute_blocks_back(
    product: LowRankProduct,
    g: torch.Tensor,
    x: torch.Tensor,
    hidden: torch.Tensor,
    *,
    needs_x: bool,
) -> torch.Tensor | None:
    grad_x = torch.empty_like(x) if needs_x else None
    for block in split_rows(len(x), x.dtype):
        taken = (block.take(one) for one in (g, x, hidden))
        part = product.backward(*taken, needs_x=needs_x)
        if grad_x is not None and part is not None:
            block.close(grad_x, part)
    return grad_x


def draw_mask(like: torch.Tensor, dropout: float, seed: int) -> torch.Tensor:
    """Returns a tensor of zeros and ones in the shape, dtype and device of ``like``."""
    generator = torch.Generator(device=like.device).manual_seed(seed)
    return torch.empty_like(like).bernoulli_(1.0 - dropout, generator=generator)
