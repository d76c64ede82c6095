"""What an adapter does to one stored weight, computed on a few of its rows at a time."""

from __future__ import annotations

from typing import Protocol

import torch


class Change(Protocol):
    """New values for a tensor that is seen as ``(rows, columns)``.

    Where ``needs_measuring``, every row is shown to ``measure`` before the first ``apply``.
    """

    shape: tuple[int, int]
    needs_measuring: bool

    def measure(self, rows: slice, weight: torch.Tensor) -> None:
        """Takes note of the base's ``rows``, given in fp32 or fp64."""
        ...

    def apply(self, rows: slice, weight: torch.Tensor) -> torch.Tensor:
        """Returns the new values of ``rows`` in the dtype of ``weight``, which may be changed."""
        ...


class LowRank:
    """Adds ``scaling * left @ right``, rank in the middle; DoRA gives each output its length.

    Args:
        left: ``(rows, rank)``.
        right: ``(rank, columns)``.
        scaling: The factor of the product.
        magnitude: Length of each output, or None.
        has_outputs_in_columns: Whether an output is a column instead of a row.
        keeps_zeros: Whether weights of the base that are zero stay zero.
    """

    def __init__(
        self,
        left: torch.Tensor,
        right: torch.Tensor,
        scaling: float,
        *,
        magnitude: torch.Tensor | None = None,
        has_outputs_in_columns: bool = False,
        keeps_zeros: bool = False,
    ) -> None:
        self.left, self.right, self.scaling = left, right, scaling
        self.shape = (left.shape[0], right.shape[1])
        self.needs_measuring = magnitude is not None and has_outputs_in_columns
        self._magnitude, self._keeps_zeros = magnitude, keeps_zeros
        self._squares = torch.zeros(self.shape[1], dtype=torch.float64)

    def measure(self, rows: slice, weight: torch.Tensor) -> None:
        """Adds the squares of the updated ``rows`` to the lengths of the columns."""
        self._squares += self._add(rows, weight).double().square().sum(0)

    def apply(self, rows: slice, weight: torch.Tensor) -> torch.Tensor:
        """Returns the updated ``rows``."""
        weight = self._add(rows, weight)
        if self._magnitude is None:
            return weight
        magnitude = self._magnitude.to(weight.dtype)
        if self.needs_measuring:
            return weight.mul_(magnitude / self._squares.sqrt().to(weight.dtype))
        norm = torch.linalg.vector_norm(weight, dim=1)
        return weight.mul_((magnitude[rows] / norm).unsqueeze(1))

    def _add(self, rows: slice, weight: torch.Tensor) -> torch.Tensor:
        left, right = self.left[rows].to(weight.dtype), self.right.to(weight.dtype)
        is_zero = weight == 0 if self._keeps_zeros else None
        weight.addmm_(left, right, alpha=self.scaling)
        return weight if is_zero is None else weight.masked_fill_(is_zero, 0.0)


class Replacement:
    """Puts ``values`` in the place of all that was there."""

    needs_measuring = False

    def __init__(self, values: torch.Tensor) -> None:
        self._values = values.reshape(values.shape[0] if values.ndim else 1, -1)
        self.shape = (self._values.shape[0], self._values.shape[1])

    def measure(self, rows: slice, weight: torch.Tensor) -> None:
        """Needs nothing."""

    def apply(self, rows: slice, weight: torch.Tensor) -> torch.Tensor:
        """Returns the new ``rows``."""
        return self._values[rows].to(weight.dtype)


class RowReplacement:
    """Puts ``values`` ``(count, columns)`` in the place of the rows numbered ``indices``."""

    needs_measuring = False

    def __init__(self, indices: tuple[int, ...], values: torch.Tensor, row_count: int) -> None:
        self._places = {index: place for place, index in enumerate(indices)}
        self._values = values
        self.shape = (row_count, values.shape[1])

    def measure(self, rows: slice, weight: torch.Tensor) -> None:
        """Needs nothing."""

    def apply(self, rows: slice, weight: torch.Tensor) -> torch.Tensor:
        """Returns the ``rows``, those with a new value replaced."""
        for index, place in self._places.items():
            if rows.start <= index < rows.stop:
                weight[index - rows.start] = self._values[place].to(weight.dtype)
        return weight
