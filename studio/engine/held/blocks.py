"""Numbers as places of levels, with one scale for each block of neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

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


def dequantise_blocks(places: Tensor, scales: Tensor, levels: Levels, block: int) -> Tensor:
    """Returns the numbers of ``places`` in fp32, in its shape."""
    flat = places.reshape(-1)
    if len(flat) % block == 0 and len(flat) <= get_chunk_size(block, flat.device):
        # The scales of most matrices: a third of the calls, which cost more than the numbers.
        few = torch.index_select(levels.values, 0, flat.to(torch.int32))
        few.view(-1, block).mul_(scales[:, None])
        return few.view(places.shape)
    numbers = torch.empty(len(flat), dtype=torch.float32, device=flat.device)
    for chunk, rows in iter_chunks(len(flat), block, flat.device):
        part = torch.index_select(levels.values, 0, flat[chunk].to(torch.int32))
        spare = -len(part) % block
        if spare:
            last = torch.nn.functional.pad(part, (0, spare)).view(-1, block) * scales[rows, None]
            numbers[chunk] = last.view(-1)[: len(part)]
        else:
            torch.mul(part.view(-1, block), scales[rows, None], out=numbers[chunk].view(-1, block))
    return numbers.view(places.shape)


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
