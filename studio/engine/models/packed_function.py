"""Attention over packed rows on the processor, as one function that keeps nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def can_attend_at_once(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Returns whether ``attend_documents`` can compute this and a backward pass will follow."""
    return (
        query.device.type == "cpu"
        and query.dtype in _DTYPES
        and query.shape[0] == 1
        and query.shape[-1] == value.shape[-1]
        and torch.is_grad_enabled()
        and any(one.requires_grad for one in (query, key, value))
    )


def attend_documents(
    query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], scaling: float
) -> Tensor:
    """Returns causal attention within each document of a row, ``(1, tokens, heads, width)``.

    ``query`` is ``(1, heads, tokens, width)``; ``key`` and ``value`` may have fewer heads. Kept for
    the backward pass are these three and the result, in their own dtype; the products are
    computed in 32 bits at least, because the processor's 16-bit attention is several times slower.
    """
    apply: Callable[..., Tensor] = _DocumentAttention.apply
    return apply(query, key, value, tuple(lengths), scaling)


class _DocumentAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], scale: float
    ) -> Tensor:
        _, heads, tokens, width = query.shape
        output = query.new_empty(1, tokens, heads, width)
        rooms = [_WideRoom(one, lengths) for one in (query, key, value)]
        sums = []
        for at in _iter_documents(lengths):
            parts = (room.fill(at) for room in rooms)
            found, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(  # noqa: SLF001 - what the public function calls; it alone gives the sums for the backward pass
                *parts, 0.0, True, scale=scale
            )
            output[:, at] = found.transpose(1, 2)
            sums.append(log_sum)
        ctx.save_for_backward(query, key, value, output, *sums)
        ctx.lengths, ctx.scale = lengths, scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, *sums = ctx.saved_tensors
        found = tuple(torch.empty_like(one) for one in (query, key, value))
        taken = (gradients.transpose(1, 2), query, key, value, output.transpose(1, 2))
        rooms = [_WideRoom(one, ctx.lengths) for one in taken]
        for at, log_sum in zip(_iter_documents(ctx.lengths), sums, strict=True):
            slopes = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(  # noqa: SLF001 - belongs to the call above
                *(room.fill(at) for room in rooms),
                log_sum,
                0.0,
                True,
                scale=ctx.scale,
            )
            for whole, slope in zip(found, slopes, strict=True):
                whole[:, :, at] = slope
        return *found, None, None


class _WideRoom:
    """One room for the documents of ``values`` ``(1, heads, tokens, width)``, in 32 bits at least.

    Rooms of their own for each of them would leave gaps of all sizes in the heap.
    """

    def __init__(self, values: Tensor, lengths: Sequence[int]) -> None:
        self._values = values
        wide = torch.promote_types(values.dtype, torch.float32)
        size = (1, max(lengths), values.shape[1], values.shape[3])
        self._room = None if wide == values.dtype else values.new_empty(size, dtype=wide)

    def fill(self, at: slice) -> Tensor:
        """Returns the document at these tokens; the one before it is gone."""
        part = self._values[:, :, at]
        if self._room is None:
            return part
        return self._room[:, : at.stop - at.start].transpose(1, 2).copy_(part)


def _iter_documents(lengths: Sequence[int]) -> Iterator[slice]:
    start = 0
    for length in lengths:
        yield slice(start, start + length)
        start += length
