"""A table with rows for new tokens, as a change of its stored weights."""

from __future__ import annotations

import torch


class Growth:
    """Gives new tokens the mean of the known ones: the row of ``known`` and those behind it.

    ``extra_rows`` is how many rows the table gets beyond its present ones; rows that it has but no
    token uses are filled first. ``shape`` is the present one.

    Source: Hewitt 2021, "Initializing new word embeddings for pretrained language models".
    """

    needs_measuring = True

    def __init__(self, shape: tuple[int, int], known: int, count: int) -> None:
        self.shape = shape
        self.extra_rows = max(0, known + count - shape[0])
        self._known, self._end = min(known, shape[0]), min(known + count, shape[0])
        self._sum = torch.zeros(shape[1], dtype=torch.float64)

    def measure(self, rows: slice, weight: torch.Tensor) -> None:
        """Adds up those ``rows`` that belong to known tokens."""
        self._sum += weight[: max(0, self._known - rows.start)].double().sum(0)

    def apply(self, rows: slice, weight: torch.Tensor) -> torch.Tensor:
        """Returns ``rows``; behind the last ones come the extra ones."""
        mean = (self._sum / max(1, self._known)).to(weight.dtype)
        first, last = max(rows.start, self._known), min(rows.stop, self._end)
        if first < last:
            weight[first - rows.start : last - rows.start] = mean
        if rows.stop == self.shape[0] and self.extra_rows:
            weight = torch.cat((weight, mean.expand(self.extra_rows, -1)))
        return weight
