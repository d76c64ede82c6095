"""Which documents are computed together: the rule that training follows and forecasts foresee."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence


def pack(lengths: Sequence[int], budget_tokens: int) -> list[list[int]]:
    """Return groups of positions whose lengths sum up to at most ``budget_tokens``.

    Best fit, longest first: few groups, hardly any room left over. A document longer than the
    budget stands alone. Positions inside a group ascend; the groups are ordered by their first.

    Source: Ding et al. 2024, "Fewer Truncations Improve Language Modeling" (best-fit packing).
    """
    groups: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (free tokens, group), ascending
    order = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    for position in order:
        length = lengths[position]
        found = bisect_left(free, (length, -1))
        if found == len(free):
            groups.append([])
            room, group = budget_tokens, len(groups) - 1
        else:
            room, group = free.pop(found)
        groups[group].append(position)
        if room > length:
            insort(free, (room - length, group))
    return sorted(sorted(group) for group in groups)
