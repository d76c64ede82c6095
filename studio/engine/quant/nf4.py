"""Frozen weights in 4 bits (NF4): 16 levels, a scale per 64 weights, scales in 8 bits.

The numbers are those of bitsandbytes, whose kernels unfold them where they work; plain torch does
the same everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from studio.engine.held.blocks import get_chunk_size, quantise_blocks
from studio.engine.held.buffer import borrow_buffer, borrow_scratch
from studio.engine.held.levels import NF4_LEVELS, get_nf4_levels
from studio.engine.held.scales import NestedScales, Scales

BLOCK = 64
_ZERO = NF4_LEVELS.index(0.0)
Unfold = Callable[["Nf4Weights", torch.dtype], Tensor]


@dataclass(frozen=True)
class Nf4Weights:
    """A matrix in 4 bits per weight.

    ``codes`` are uint8 ``(weights / 2, 1)``, the first weight of a pair in the upper half.
    ``levels`` are the 16 values that a code means.
    """

    KIND: ClassVar[str] = "nf4"
    fast_unfold: ClassVar[Unfold | None] = None
    """What unfolds on a card instead of plain torch, once it has been proven equal."""

    codes: Tensor
    scales: Scales
    shape: tuple[int, int]
    block: int = BLOCK
    levels: tuple[float, ...] = NF4_LEVELS

    @property
    def device(self) -> torch.device:
        """Where the codes are."""
        return self.codes.device

    @property
    def byte_count(self) -> int:
        """The memory that codes and scales take."""
        return self.codes.nbytes + self.scales.byte_count

    def to(self, device: torch.device) -> Nf4Weights:
        """Returns the same weights on ``device``."""
        return replace(self, codes=self.codes.to(device), scales=self.scales.to(device))

    def borrow(self, dtype: torch.dtype) -> Tensor:
        """Returns the weights in ``dtype`` in shared memory: to be used before the next call."""
        fast = Nf4Weights.fast_unfold
        if fast is not None and self.device.type == "cuda" and self.levels == NF4_LEVELS:
            return fast(self, dtype)
        out = borrow_buffer(self.shape, dtype, self.device)
        self._unfold_into(out)
        return out

    def unfold(self) -> Tensor:
        """Returns the weights as a new fp32 tensor."""
        out = torch.empty(self.shape, dtype=torch.float32, device=self.device)
        self._unfold_into(out)
        return out

    def _unfold_into(self, out: Tensor) -> None:
        """Fills ``out``; each weight is computed in fp32 and rounded once."""
        pairs = _get_pairs(self.levels, self.device)
        is_direct = out.dtype == torch.float32 and out.numel() % self.block == 0
        size = get_chunk_size(self.block, self.device)
        pieces = zip(
            torch.split(out.view(-1), size),
            torch.split(self.codes.view(-1), size // 2),
            torch.split(self.scales.unfold()[:, None], size // self.block),
            strict=True,
        )
        index = scratch = wide = torch.empty(0, device=self.device)
        for target, codes, scales in pieces:
            if len(codes) != len(index):  # at first, and for the last piece
                index = borrow_scratch(len(codes), torch.int32, self.device)
                scratch = borrow_scratch(2 * len(codes), torch.float32, self.device)
                wide = scratch.view(torch.float64)
            index.copy_(codes)
            # One look-up gives two weights, written where they belong if that is fp32 memory.
            if is_direct:
                torch.index_select(pairs, 0, index, out=target.view(torch.float64))
                target.view(-1, self.block).mul_(scales)
            else:
                torch.index_select(pairs, 0, index, out=wide)
                target.copy_(_scale(scratch[: len(target)], scales, self.block))


def _scale(numbers: Tensor, scales: Tensor, block: int) -> Tensor:
    """Multiplies ``numbers`` with the scale of their block, in place; returns them."""
    if len(numbers) % block:
        return numbers.mul_(scales.expand(-1, block).flatten()[: len(numbers)])
    numbers.view(-1, block).mul_(scales)
    return numbers


def quantise(weight: Tensor) -> Nf4Weights:
    """Returns ``weight`` ``(out, in)`` in 4 bits, on its device.

    Source: Dettmers et al. 2023 (arXiv 2305.14314), section 3.
    """
    places, scales = quantise_blocks(weight, get_nf4_levels(weight.device), BLOCK)
    if len(places) % 2:
        places = torch.nn.functional.pad(places, (0, 1), value=_ZERO)
    codes = ((places[0::2] << 4) | places[1::2]).unsqueeze(1)
    shape = (weight.shape[0], weight.shape[1])
    return Nf4Weights(codes, NestedScales.of(scales), shape)


@cache
def _get_pairs(levels: tuple[float, ...], device: torch.device) -> Tensor:
    """Returns what each byte means: two fp32 weights, held together as one 64-bit number."""
    values = torch.tensor(levels, dtype=torch.float32, device=device)
    byte = torch.arange(256, device=device)
    both = torch.stack((values[byte >> 4], values[byte & 15]), 1).contiguous()
    return both.view(torch.float64).squeeze(1)
