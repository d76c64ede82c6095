"""Numbers as places of levels, with one scale for each block of neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from studio.engine.held.buffer import borrow_scratch
from studio.engine.held.levels import Levels

_CHUNK_NUMBERS = {"cpu": 1 << 17, "cuda": 1 << 24}
"""On the processor what its cache holds, on a card what bounds the memory beside the result."""
_LEAST = 1e-38


def quantise_blocks(numbers: Tensor, levels: Levels, block: int) -> tuple[Tensor, Tensor]:
    """Returns the places of the levels ``(count,)`` and the scale of each block, fp32.

    ``numbers`` are any floating ones, taken in the order of memory; every block is divided by its
    largest magnitude. The last block may be shorter.
    """
    flat = numbers.detach().reshape(-1)
    blocks = -(-len(flat) // block)
    places = torch.empty(len(flat), dtype=torch.uint8, device=flat.device)
    scales = torch.empty(blocks, dtype=torch.float32, device=flat.device)
    for chunk, rows in iter_chunks(len(flat), block, flat.device):
        part = flat[chunk].float()
        spare = -len(part) % block
        padded = torch.nn.functional.pad(part, (0, spare)) if spare else part
        lines = padded.view(-1, block)
        torch.amax(lines.abs(), 1, out=scales[rows])
        factors = 1.0 / scales[rows].clamp_min(_LEAST)
        ready = (lines * factors[:, None]).clamp_(-1.0, 1.0).view(-1)
        places[chunk] = levels.find_nearest(ready[: len(part)])
    return places, scales


class Room(NamedTuple):
    """Memory for fp32 ``numbers`` that are looked up and scaled, seen in several ways.

    ``wide`` holds as many of them in one number as one place means.
    """

    places: Tensor
    wide: Tensor
    numbers: Tensor
    lines: Tensor | None
    block: int

    @classmethod
    def of(cls, memory: Tensor, block: int, *, in_pairs: bool = False) -> Room:
        """Returns room for as many numbers as ``memory`` has; a place means one, or a pair."""
        wide = memory.view(torch.float64) if in_pairs else memory
        places = borrow_scratch(len(wide), torch.int32, memory.device)
        return cls(places, wide, memory, _fold(memory, block), block)

    def shorten(self, count: int) -> Room:
        """Returns the same room where only the first ``count`` numbers mean something."""
        numbers = self.numbers[:count]
        return self._replace(numbers=numbers, lines=_fold(numbers, self.block))

    def fill(self, table: Tensor, places: Tensor, scales: Tensor) -> Tensor:
        """Returns the numbers that ``places`` mean in ``table``, by ``scales`` ``(blocks, 1)``."""
        self.places.copy_(places)
        torch.index_select(table, 0, self.places, out=self.wide)
        if self.lines is not None:
            self.lines.mul_(scales)
        else:
            self.numbers.mul_(scales.expand(-1, self.block).flatten()[: len(self.numbers)])
        return self.numbers


def dequantise_blocks(places: Tensor, scales: Tensor, levels: Levels, block: int) -> Tensor:
    """Returns the numbers of ``places`` in fp32, in its shape."""
    found = torch.empty_like(places, dtype=torch.float32)
    rooms = split_rooms(found.view(-1), block)
    for room, part in zip(rooms, split_blocks(places, scales, block), strict=True):
        room.fill(levels.values, *part)
    return found


def split_rooms(memory: Tensor, block: int) -> Sequence[Room]:
    """Returns room for all numbers of ``memory``, in pieces that are worked on at once."""
    pieces = torch.split(memory, get_chunk_size(block, memory.device))
    return [Room.of(piece, block) for piece in pieces]


def split_blocks(places: Tensor, scales: Tensor, block: int) -> Sequence[tuple[Tensor, Tensor]]:
    """Returns the same pieces of ``places``, each with its scales ``(blocks, 1)``."""
    size = get_chunk_size(block, places.device)
    columns = torch.split(scales[:, None], size // block)
    return list(zip(torch.split(places.view(-1), size), columns, strict=True))


def iter_chunks(count: int, block: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Yields pieces of ``count`` numbers, and the blocks that each consists of."""
    size = get_chunk_size(block, device)
    for start in range(0, count, size):
        stop = min(count, start + size)
        yield slice(start, stop), slice(start // block, -(-stop // block))


def get_chunk_size(block: int, device: torch.device) -> int:
    """Returns how many numbers are worked on at once: an even number of whole blocks."""
    numbers = _CHUNK_NUMBERS.get(device.type, _CHUNK_NUMBERS["cuda"])
    return max(1, numbers // (2 * block)) * 2 * block


def _fold(numbers: Tensor, block: int) -> Tensor | None:
    """Returns one line per block, None where the last is shorter."""
    return None if len(numbers) % block else numbers.view(-1, block)
