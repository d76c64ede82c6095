"""Divides the rows of a product into blocks of few different sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from studio.engine.quant import FrozenLinear
from studio.engine.quant.none import PlainLinear

_BLOCK_ROWS = 512
_REST_ROWS = 128
"""In 16 bits what is left over is filled up to a multiple of so many rows."""
_NARROW = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class RowBlock:
    """The rows from ``start`` to ``stop``, filled up with zeros to ``rows`` for the product."""

    start: int
    stop: int
    rows: int

    @property
    def is_filled(self) -> bool:
        """Whether there are rows of zeros behind the real ones."""
        return self.rows != self.stop - self.start

    def take(self, values: Tensor) -> Tensor:
        """Returns the block of ``(all rows, width)``: ``(rows, width)``, a view where it can be."""
        block = values[self.start : self.stop]
        if not self.is_filled:
            return block
        filled = block.new_empty(self.rows, block.shape[1])
        filled[: len(block)] = block
        filled[len(block) :] = 0
        return filled

    def open(self, values: Tensor) -> Tensor:
        """Returns where to write the block of ``values``, ``(rows, width)``; then ``close`` it."""
        if not self.is_filled:
            return values[self.start : self.stop]
        return values.new_empty(self.rows, values.shape[1])

    def close(self, values: Tensor, block: Tensor) -> None:
        """Brings ``block`` into ``values``, unless it was written there."""
        target = values[self.start : self.stop]
        if block.data_ptr() != target.data_ptr() or block.device.type == "meta":
            target.copy_(block[: len(target)])


def is_divisible(frozen: FrozenLinear, dtype: torch.dtype) -> bool:
    """Returns whether products with ``frozen`` may be computed block by block at no cost.

    Not where the weight is unfolded or converted for every product, nor on a card.
    """
    is_plain = isinstance(frozen, PlainLinear) and frozen.device.type == "cpu"
    return is_plain and frozen.compute_dtype == dtype


def needs_blocks(frozen: FrozenLinear, dtype: torch.dtype, count: int) -> bool:
    """Returns whether products of ``count`` rows should be computed in blocks of few sizes.

    For every number of rows the processor's library of 16-bit products compiles code of its own
    and keeps it (measured: 0.65 MB and 1 to 7 ms per product); packed rows are never equally long.
    Fewer rows than a block, as in answering token by token, are not worth filling one.
    """
    return dtype in _NARROW and count >= _REST_ROWS and is_divisible(frozen, dtype)


def split_rows(count: int, dtype: torch.dtype) -> Iterator[RowBlock]:
    """Yields the blocks of ``count`` rows on the processor: full ones and what is left over."""
    step = _REST_ROWS if dtype in _NARROW else 1
    for start in range(0, count, _BLOCK_ROWS):
        stop = min(count, start + _BLOCK_ROWS)
        yield RowBlock(start, stop, -(-(stop - start) // step) * step)
