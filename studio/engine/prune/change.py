"""Pruning as a change of a stored weight."""

from __future__ import annotations

import torch

from studio.engine.prune import Pattern


class Pruning:
    """Sets the weights to zero that ``pattern`` does not keep; ``zeros`` counts them.

    With ``has_outputs_in_columns`` the tensor is ``(inputs, outputs)`` and is held in memory.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        pattern: Pattern,
        sparsity: float,
        *,
        has_outputs_in_columns: bool,
    ) -> None:
        self.shape = shape
        self.needs_measuring = has_outputs_in_columns
        self.zeros = 0
        self._pattern, self._sparsity = pattern, sparsity
        self._blocks: list[torch.Tensor] = []
        self._kept: torch.Tensor | None = None

    def measure(self, rows: slice, weight: torch.Tensor) -> None:
        """Takes note of ``rows``; their outputs can be judged only when all are there."""
        del rows
        self._blocks.append(weight)

    def apply(self, rows: slice, weight: torch.Tensor) -> torch.Tensor:
        """Returns ``rows`` with zeros in them."""
        if self.needs_measuring:
            if self._kept is None:
                whole = torch.cat(self._blocks).t()
                self._kept = self._pattern.find_kept(whole, self._sparsity).t()
                self._blocks.clear()
            kept = self._kept[rows]
        else:
            kept = self._pattern.find_kept(weight, self._sparsity)
        weight.masked_fill_(~kept, 0.0)
        self.zeros += weight.numel() - int(weight.count_nonzero())
        return weight
