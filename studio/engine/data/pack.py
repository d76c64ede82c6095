"""Putting documents of different lengths into micro-batches of a bounded size."""

from __future__ import annotations

from collections.abc import Sequence

from studio.core.memory.packing import pack as pack


def group_padded(lengths: Sequence[int], budget_tokens: int) -> list[list[int]]:
    """Return groups of positions with ``rows x longest`` at most ``budget_tokens``.

    Documents of similar length come together, so that little is padded. A document longer than
    the budget stands alone.
    """
    groups: list[list[int]] = []
    order = sorted(range(len(lengths)), key=lambda position: (lengths[position], position))
    for position in order:
        if groups and (len(groups[-1]) + 1) * lengths[position] <= budget_tokens:
            groups[-1].append(position)
        else:
            groups.append([position])
    return sorted(sorted(group) for group in groups)
