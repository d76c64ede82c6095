"""Sets of levels that numbers in [-1, 1] are rounded to, and the way to the nearest of them."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

NF4_LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)  # fmt: skip
"""The quantiles of a standard normal that NF4 rounds to.

Source: Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", appendix E.
"""
_CELLS = 1 << 16
_DECADES = 7


class Levels:
    """Up to 256 levels in rising order; a number between two goes to the nearer, ties down."""

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self._bounds = (values[1:] + values[:-1]) / 2
        self._cells: tuple[Tensor, Tensor] | None = None

    def find_nearest(self, numbers: Tensor) -> Tensor:
        """Returns for each of the fp32 ``numbers`` the place of its level, uint8, same shape."""
        if numbers.device.type != "cpu":
            return torch.bucketize(numbers, self._bounds, out_int32=True).to(torch.uint8)
        first, above = self._get_cells()
        cells = (numbers.contiguous().view(torch.int32).flatten() >> 16) + (_CELLS >> 1)
        places = torch.index_select(first, 0, cells)
        places += numbers.flatten() > torch.index_select(above, 0, places)
        return places.to(torch.uint8).view(numbers.shape)

    def _get_cells(self) -> tuple[Tensor, Tensor]:
        """Returns the level of the least number of each cell, and the bound above each level.

        A cell is all numbers with the same upper 16 bits, counted from the most negative bit
        pattern on. It is so narrow that it holds one bound at most, so that one comparison
        decides: several times faster than a binary search.
        """
        if self._cells is None:
            patterns = torch.arange(_CELLS, dtype=torch.int32) - (_CELLS >> 1)
            least = (patterns << 16) | torch.where(patterns < 0, 0xFFFF, 0).to(torch.int32)
            first = torch.bucketize(least.view(torch.float32), self._bounds, out_int32=True)
            above = torch.cat((self._bounds, torch.tensor([torch.inf])))
            self._cells = first, above
        return self._cells


@cache
def get_nf4_levels(device: torch.device) -> Levels:
    """Returns the 16 levels of NF4 on ``device``."""
    return Levels(torch.tensor(NF4_LEVELS, device=device))


@cache
def get_dynamic_levels(device: torch.device, *, is_signed: bool) -> Levels:
    """Returns the 256 levels of the dynamic 8-bit format on ``device``.

    Each decade from 1e-7 to 1 is divided evenly, the upper ones into more parts: large numbers are
    exact to about a percent, small ones keep their order of magnitude.

    Source: Dettmers 2015 (arXiv 1511.04561), section 3; the division of the decades as in
    Dettmers et al. 2021 (arXiv 2110.02861), section 1.3.
    """
    numbers = [0.0, 1.0]
    for decade in range(_DECADES):
        parts = 2**decade if is_signed else 2 ** (decade + 1)
        edges = torch.linspace(0.1, 1.0, parts + 1, dtype=torch.float32)
        middles = (10.0 ** (decade - _DECADES + 1)) * ((edges[1:] + edges[:-1]) / 2)
        numbers += middles.tolist()
        if is_signed:
            numbers += (-middles).tolist()
    return Levels(torch.tensor(sorted(numbers), dtype=torch.float32, device=device))
