"""Frozen weights in 8 bits: whole numbers from -127 to 127 and one scale per output.

The numbers are those that bitsandbytes stores for ``load_in_8bit``. The products are computed in
the compute dtype with the unfolded weights: inputs are not rounded, so that nothing has to be
decided about outliers among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from studio.engine.held.buffer import borrow_buffer, borrow_scratch

_LARGEST = 127.0
_CHUNK_NUMBERS = {"cpu": 1 << 17, "cuda": 1 << 24}
"""On the processor what its nearest caches hold, codes and weights together; on a card so much that
starting a piece of work costs less than the work."""


@dataclass(frozen=True)
class Int8Weights:
    """A matrix in 8 bits per weight: ``codes`` int8 ``(out, in)``, ``largest`` fp32 ``(out,)``."""

    KIND: ClassVar[str] = "int8"

    codes: Tensor
    largest: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """The widths of output and input."""
        return self.codes.shape[0], self.codes.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the codes are."""
        return self.codes.device

    @property
    def byte_count(self) -> int:
        """The memory that codes and scales take."""
        return self.codes.nbytes + self.largest.nbytes

    def to(self, device: torch.device) -> Int8Weights:
        """Returns the same weights on ``device``."""
        return Int8Weights(self.codes.to(device), self.largest.to(device))

    def borrow(self, dtype: torch.dtype) -> Tensor:
        """Returns the weights in ``dtype`` in shared memory: to be used before the next call."""
        return self._unfold_into(borrow_buffer(self.shape, dtype, self.device))

    def unfold(self) -> Tensor:
        """Returns the weights as a new fp32 tensor."""
        return self._unfold_into(torch.empty(self.shape, dtype=torch.float32, device=self.device))

    def iter_lines(self) -> Iterator[Tensor]:
        """Yields all rows in order, fp32 ``(some, in)``, in memory that the next overwrite."""
        scales = (self.largest / _LARGEST)[:, None]
        some, width = _count_rows(self.codes), self.shape[1]
        scratch = borrow_scratch(some * width, torch.float32, self.device).view(some, width)
        for codes, factors in zip(
            torch.split(self.codes, some), torch.split(scales, some), strict=True
        ):
            yield torch.mul(codes, factors, out=scratch[: len(codes)])

    def _unfold_into(self, out: Tensor) -> Tensor:
        scales = (self.largest / _LARGEST)[:, None]
        is_whole = self.device.type == "cuda"
        step = len(self.codes) if is_whole else _count_rows(self.codes)
        for start in range(0, len(self.codes), max(1, step)):
            rows = slice(start, start + max(1, step))
            torch.mul(self.codes[rows], scales[rows], out=out[rows])
        return out


def quantise(weight: Tensor) -> Int8Weights:
    """Returns ``weight`` ``(out, in)`` in 8 bits, on its device.

    Source: Dettmers et al. 2022 (arXiv 2208.07339), section 2, "absmax quantization", per row.
    """
    codes = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    largest = torch.empty(weight.shape[0], dtype=torch.float32, device=weight.device)
    step = _count_rows(weight)
    for start in range(0, weight.shape[0], step):
        rows = slice(start, start + step)
        part = weight[rows].detach().float()
        torch.amax(part.abs(), 1, out=largest[rows])
        factors = _LARGEST / largest[rows].clamp_min(1e-38)
        codes[rows] = (part * factors[:, None]).round_().to(torch.int8)
    return Int8Weights(codes, largest)


def _count_rows(matrix: Tensor) -> int:
    most = _CHUNK_NUMBERS.get(matrix.device.type, _CHUNK_NUMBERS["cpu"])
    return max(1, most // max(1, matrix.shape[1]))
