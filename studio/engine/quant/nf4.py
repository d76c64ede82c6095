"""Frozen weights in 4 bits (NF4): 16 levels, a scale per 64 weights, scales in 8 bits.

The numbers are those of bitsandbytes, whose kernels unfold them where they work; plain torch does
the same everywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import ClassVar

import torch
from torch import Tensor

from studio.engine.held.blocks import Room, get_chunk_size, quantise_blocks
from studio.engine.held.buffer import borrow_buffer, borrow_scratch, keep_views
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
        # other threads may let the shared memory grow, so that it is elsewhere
        key = "weights", out.data_ptr(), dtype, self.shape, self.block
        self._fill(keep_views(key, self.device, lambda: self._divide(out)))
        return out

    def unfold(self) -> Tensor:
        """Returns the weights as a new fp32 tensor."""
        out = torch.empty(self.shape, dtype=torch.float32, device=self.device)
        self._fill(self._divide(out))
        return out

    def iter_lines(self) -> Iterator[Tensor]:
        """Yields all rows in order, fp32 ``(some, in)``, in memory that the next overwrite."""
        key = "rooms", self.shape, self.block
        for numbers in self._iter_numbers(keep_views(key, self.device, self._build_rooms)):
            yield numbers.view(-1, self.shape[1])

    @cached_property
    def _piece_size(self) -> int:
        """How many weights are unfolded at once: whole rows that are whole blocks and bytes."""
        least = math.lcm(self.shape[1], 2 * self.block)
        return max(1, get_chunk_size(self.block, self.device) // least) * least

    @cached_property
    def _pieces(self) -> Sequence[Tensor]:
        """The codes of each piece; to split them takes as long as the work on a small one."""
        return torch.split(self.codes.view(-1), self._piece_size // 2)

    def _build_rooms(self) -> Sequence[Room]:
        """Returns room for each piece, in memory that the next one overwrites."""
        whole, rest = divmod(self.shape[0] * self.shape[1], self._piece_size)
        most = self._piece_size if whole else rest + rest % 2
        room = Room.of(borrow_scratch(most, torch.float32, self.device), self.block, in_pairs=True)
        last = Room.of(room.numbers[: rest + rest % 2], self.block, in_pairs=True).shorten(rest)
        return [room] * whole + [last] * (rest > 0)

    def _divide(self, out: Tensor) -> Sequence[tuple[Tensor, Room]]:
        """Returns each piece of ``out`` and where it is worked out: in its place if it can be."""
        targets = torch.split(out.view(-1), self._piece_size)
        if out.dtype != torch.float32 or out.numel() % self.block:
            return list(zip(targets, self._build_rooms(), strict=True))
        return [(target, Room.of(target, self.block, in_pairs=True)) for target in targets]

    def _fill(self, places: Sequence[tuple[Tensor, Room]]) -> None:
        """Fills each piece; every weight is computed in fp32 and rounded once."""
        found = self._iter_numbers([room for _, room in places])
        for (target, _), numbers in zip(places, found, strict=True):
            if numbers is not target:
                target.copy_(numbers)

    def _iter_numbers(self, rooms: Sequence[Room]) -> Iterator[Tensor]:
        """Yields the weights of each piece in fp32, in its room."""
        pairs = _get_pairs(self.levels, self.device)  # two weights at once
        columns = self.scales.borrow_columns(self._piece_size // self.block)
        for room, codes, column in zip(rooms, self._pieces, columns, strict=True):
            yield room.fill(pairs, codes, column)


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
