"""Documents of similar length side by side, so that few calls attend to many documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST_FILLED = 0.8
"""Documents shorter than this share of a group's longest start a group of their own."""


@dataclass(frozen=True)
class DocumentGroups:
    """Where the tokens of a packed row go and where they come back from.

    ``indices`` are one ``(documents, longest)`` table of token numbers per group; shorter
    documents are filled up on the right with a token of their own, which under a causal mask no
    real token sees. ``inverse``, ``(tokens,)``, finds each token in the flattened groups.
    """

    indices: tuple[Tensor, ...]
    inverse: Tensor

    def spread(self, row: Tensor, group: int) -> Tensor:
        """Returns ``(documents, heads, longest, width)`` of a row ``(1, heads, tokens, width)``."""
        at = self.indices[group]
        picked = row[0].index_select(1, at.flatten())
        return picked.view(-1, *at.shape, picked.shape[-1]).transpose(0, 1)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Returns the row ``(1, heads, tokens, width)`` from the groups' results."""
        flat = [part.transpose(0, 1).flatten(1, 2) for part in parts]
        return torch.cat(flat, dim=1).index_select(1, self.inverse)[None]


def group_documents(lengths: Sequence[int], device: torch.device) -> DocumentGroups:
    """Returns the groups of documents of these lengths, the longest first."""
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    groups: list[list[int]] = []
    for number in order:
        if not groups or lengths[number] < _LEAST_FILLED * lengths[groups[-1][0]]:
            groups.append([])
        groups[-1].append(number)
    indices = []
    inverse = torch.empty(sum(lengths), dtype=torch.long)
    done = 0
    for group in groups:
        longest = lengths[group[0]]
        table = torch.empty(len(group), longest, dtype=torch.long)
        for place, number in enumerate(group):
            start, length = starts[number], lengths[number]
            table[place] = start
            table[place, :length] = torch.arange(start, start + length)
            inverse[start : start + length] = torch.arange(length) + done + place * longest
        done += table.numel()
        indices.append(table.to(device, non_blocking=True))
    return DocumentGroups(tuple(indices), inverse.to(device, non_blocking=True))
