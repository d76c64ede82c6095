"""Weights as the training saw them: held in fewer bits, and unfolded again before an adapter."""

from __future__ import annotations

import torch

from studio.engine.export.changes import Change
from studio.engine.held.layer import Quantise


class Dequantised:
    """Puts the values that a weight has in fewer bits in its place, then applies ``change``.

    Formats share scales across a whole matrix, so that one of it is in memory, in fp32.

    Args:
        quantise: Puts a matrix ``(out, in)`` into the format.
        shape: The shape in the file.
        is_transposed: Whether the file holds ``(in, out)``.
        change: What happens to the values then, None where nothing does.
    """

    needs_measuring = True

    def __init__(
        self,
        quantise: Quantise,
        shape: tuple[int, int],
        *,
        is_transposed: bool,
        change: Change | None,
    ) -> None:
        self.shape = shape
        self._quantise, self._is_transposed, self._change = quantise, is_transposed, change
        self._values = torch.empty(0)

    def measure(self, rows: slice, weight: torch.Tensor) -> None:
        """Takes the ``rows`` of the base; with the last ones the values in fewer bits are known."""
        if rows.start == 0:
            self._values = torch.empty(self.shape)
        self._values[rows] = weight
        if rows.stop < self.shape[0]:
            return
        matrix = self._values.t().contiguous() if self._is_transposed else self._values
        held = self._quantise(matrix)
        self._values = held.unfold().t().contiguous() if self._is_transposed else held.unfold()
        if self._change is not None and self._change.needs_measuring:
            self._change.measure(slice(0, self.shape[0]), self._values.clone())

    def apply(self, rows: slice, weight: torch.Tensor) -> torch.Tensor:
        """Returns the new ``rows``."""
        weight.copy_(self._values[rows])
        if rows.stop == self.shape[0]:
            self._values = torch.empty(0)  # a model has many matrices, memory has not
        return weight if self._change is None else self._change.apply(rows, weight)
