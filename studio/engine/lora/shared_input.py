"""The matrices A of layers that read the same input, in one product for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from studio.engine.lora.routing import Layout
from studio.engine.models.siblings import SameInput


class SharedInput:
    """Holds A of several layers, adapter by adapter, so that one adapter's lie side by side.

    ``matrices`` is ``(layers * sum of ranks, in)``: of the first adapter the ranks of the first
    layer, of the second one, …, then those of the next adapter. All layers have the same
    ``layout``. ``products`` keeps ``A x`` of all until each layer took its part.
    """

    def __init__(self, layout: Layout, rows_of_a: Sequence[Tensor]) -> None:
        self.layers = len(rows_of_a)
        self.products: SameInput[tuple[Tensor, ...]] = SameInput(self.layers)
        self._ranks = [rank for _, rank in layout]
        parts = [torch.split(rows, self._ranks) for rows in rows_of_a]
        self.matrices = torch.cat([part[at] for at in range(len(layout)) for part in parts])

    def take_rows(self, start: int, stop: int) -> Tensor:
        """Returns A of all layers for the ranks from ``start`` to ``stop`` of each, as a view."""
        return self.matrices[self.layers * start : self.layers * stop]

    def copy_rows(self, place: int) -> Tensor:
        """Returns A of one layer, ``(sum of ranks, in)``, as it was given."""
        parts = torch.split(self.matrices, [self.layers * rank for rank in self._ranks])
        return torch.cat(
            [
                part[place * rank : (place + 1) * rank]
                for part, rank in zip(parts, self._ranks, strict=True)
            ]
        )
