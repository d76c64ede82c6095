"""Frozen weights in 4 bits (NF4): 16 levels, a scale per 64 weights, scales in 8 bits.

The numbers are those of bitsandbytes, whose kernels unfold them where they work; plain torch does
the same everywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar, NamedTuple

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

    def iter_lines(self) -> Iterator[Tensor]:
        """Yields all rows in order, fp32 ``(some, in)``, in memory that the next overwrite."""
        width = self.shape[1]
        together = math.lcm(width, 2 * self.block) // width  # rows that are whole blocks and bytes
        size = get_chunk_size(self.block, self.device)
        some = max(1, size // (together * width)) * together * width
        for numbers in self._iter_numbers(min(some, self.shape[0] * width)):
            yield numbers.view(-1, width)

    def _unfold_into(self, out: Tensor) -> None:
        """Fills ``out``; each weight is computed in fp32 and rounded once."""
        size = get_chunk_size(self.block, self.device)
        targets = torch.split(out.view(-1), size)
        is_direct = out.dtype == torch.float32 and out.numel() % self.block == 0
        found = self._iter_numbers(size, targets if is_direct else ())
        for target, numbers in zip(targets, found, strict=True):
            if not is_direct:
                target.copy_(numbers)

    def _iter_numbers(self, size: int, into: Sequence[Tensor] = ()) -> Iterator[Tensor]:
        """Yields the weights in fp32, ``size`` of them at a time.

        They lie in memory that the next ones overwrite, or where they belong: in ``into``.
        """
        pairs, count = _get_pairs(self.levels, self.device), self.shape[0] * self.shape[1]
        codes = torch.split(self.codes.view(-1), -(-size // 2))
        scales = torch.split(self.scales.unfold()[:, None], -(-size // self.block))
        room = None
        for number, (code, scale) in enumerate(zip(codes, scales, strict=True)):
            some = min(size, count - number * size)
            if room is None or into or some != len(room.numbers):
                room = _Room.of(some, self.block, into[number] if into else None, self.device)
            room.places.copy_(code)
            torch.index_select(pairs, 0, room.places, out=room.wide)  # two weights at once
            if room.lines is None:
                room.numbers.mul_(scale.expand(-1, self.block).flatten()[:some])
            else:
                room.lines.mul_(scale)
            yield room.numbers


class _Room(NamedTuple):
    """Memory for ``numbers``, seen in several ways; each way costs as much as a small piece."""

    places: Tensor
    wide: Tensor
    numbers: Tensor
    lines: Tensor | None

    @classmethod
    def of(cls, count: int, block: int, target: Tensor | None, device: torch.device) -> _Room:
        """Returns room for ``count`` numbers, in ``target`` if that is given."""
        half = (count + 1) // 2
        places = borrow_scratch(half, torch.int32, device)
        whole = borrow_scratch(2 * half, torch.float32, device) if target is None else target
        numbers = whole if len(whole) == count else whole[:count]
        lines = None if count % block else numbers.view(-1, block)
        return cls(places, whole.view(torch.float64), numbers, lines)


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
