"""Counts the floating point operations that torch executes, causal attention at its true half."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten


class FlopMeter(TorchDispatchMode):
    """Adds up two operations per multiplication and addition of every matrix product.

    Attention forward is two products of all pairs of tokens, backward five (one recomputes the
    scores); under a causal mask half the pairs exist.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket
        if name in (_ATEN.mm, _ATEN.addmm, _ATEN.bmm, _ATEN.baddbmm):
            left, right = args[-2:]
            self.flops += 2 * left.numel() * right.shape[-1]
        elif name is _ATEN._scaled_dot_product_flash_attention_for_cpu:
            self.flops += 2 * _count_pairs(args[0], args[1], args[4])
        elif name is _ATEN._scaled_dot_product_flash_attention_for_cpu_backward:
            self.flops += 5 * _count_pairs(args[1], args[2], args[7])
        elif "attention" in str(name):
            raise NotImplementedError(str(name))
        return result


def _count_pairs(query: torch.Tensor, key: torch.Tensor, is_causal: bool) -> int:
    batch, heads, tokens, width = query.shape
    pairs = tokens * key.shape[2]
    return 2 * batch * heads * width * (pairs // 2 if is_causal else pairs)
