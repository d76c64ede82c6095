"""The updates of stacked experts, for files that hold the stack and files with single experts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from studio.engine.export.changes import Change, LowRank
from studio.engine.held import expert_names
from studio.engine.lora.experts import ExpertStack
from studio.engine.lora.stored import StoredModule


class StackedChange:
    """Changes each of several blocks of rows of equal height in a way of its own, in place."""

    needs_measuring = False

    def __init__(self, blocks: Sequence[Change]) -> None:
        self.blocks = blocks
        self._height = blocks[0].shape[0]
        self.shape = (self._height * len(blocks), blocks[0].shape[1])

    def measure(self, rows: slice, weight: torch.Tensor) -> None:
        """Needs nothing."""

    def apply(self, rows: slice, weight: torch.Tensor) -> torch.Tensor:
        """Returns the updated ``rows``, which may reach over several blocks."""
        row = rows.start
        while row < rows.stop:
            number, first = divmod(row, self._height)
            last = min(self._height, first + rows.stop - row)
            part = weight[row - rows.start : row - rows.start + last - first]
            self.blocks[number].apply(slice(first, last), part)
            row += last - first
        return weight


def build_stacked(module: StoredModule, stack: ExpertStack) -> StackedChange:
    """Returns what happens to the whole stacked parameter."""
    blocks = []
    for lora_a, lora_b in split_stack(module, stack.sizes[0]):
        left, right = (lora_a.t(), lora_b.t()) if stack.is_transposed else (lora_b, lora_a)
        blocks.append(LowRank(left, right, module.scaling))
    return StackedChange(blocks)


def build_single(
    name: str, module: StoredModule, stack: ExpertStack, tensors: Iterable[str]
) -> Mapping[str, Change]:
    """Returns what happens to each tensor of single experts, by its name in the file.

    ``name`` is the stacked parameter in the model. Empty where the file has no such tensors, or
    where the stack mixes the rows of its parts.
    """
    places = find_single_names(name, stack, tensors)
    changes: dict[str, Change] = {}
    for names, (lora_a, lora_b) in zip(places, split_stack(module, stack.sizes[0]), strict=False):
        for place, rows in zip(names, lora_b.chunk(len(names)), strict=True):
            changes[place] = LowRank(rows, lora_a, module.scaling)
    return changes


def find_single_names(
    name: str, stack: ExpertStack, tensors: Iterable[str]
) -> list[tuple[str, ...]]:
    """Returns what a file calls the parts of each expert of the stack ``name``, gate before up.

    Empty where the file has no tensors of single experts, or where the stack mixes the rows of
    its parts.
    """
    return expert_names.find_single_names(name, stack.owner, stack.sizes[0], tensors)


def split_stack(module: StoredModule, experts: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Returns A ``(rank, in)`` and B ``(out, rank)`` of each of a stack's ``experts``."""
    rank = module.rank
    return [
        (module.lora_a[expert * rank : (expert + 1) * rank], module.lora_b[:, expert::experts])
        for expert in range(experts)
    ]
