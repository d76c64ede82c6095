"""Holding back rows for validation, decided by what the rows say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.chunks import first_bytes, iter_groups
from studio.engine.data.example import Flags
from studio.engine.data.file_rows import Rows


def hold_back(keys: Sequence[Rows], usable: Sequence[Flags], fraction: float) -> list[Flags]:
    """Return which usable rows of each source are held back, ``(rows,)`` each.

    ``keys`` are 16 bytes a row, equal where rows say the same. Such rows stay together, so that
    nothing is learnt and tested at once; which are chosen depends on what they say alone, not on
    their order. With two different rows or more and a fraction above 0, each side gets at least
    one. The rows are gone through in the order of their keys, and no further than is needed.
    """
    every = np.zeros(sum(len(one) for one in keys), dtype=np.bool_)
    rows = sum(int(np.count_nonzero(one)) for one in usable)
    if fraction > 0 and rows >= 2:
        _choose(keys, usable, min(max(1, round(fraction * rows)), rows - 1), every)
    ends = np.cumsum([len(one) for one in keys])[:-1]
    return [np.ascontiguousarray(one) for one in np.split(every, ends)]


def _choose(keys: Sequence[Rows], usable: Sequence[Flags], wanted: int, every: Flags) -> None:
    """Mark up to ``wanted`` rows in ``every``, those first whose keys come first."""
    held = 0
    kinds_seen = 0
    fewest: NDArray[np.int64] | None = None
    for places, mine in iter_groups(keys, usable, first_bytes, lambda some: some):
        kinds, group, counts = np.unique(mine, return_inverse=True, return_counts=True)
        chosen = np.zeros(len(kinds), dtype=np.bool_)
        for index, count in enumerate(counts.tolist()):
            if held + count <= wanted:
                chosen[index] = True
                held += count
            if held == wanted:
                break
        every[places] = chosen[group]
        if held == wanted:
            return
        kinds_seen += len(kinds)
        smallest = int(np.argmin(counts))
        if fewest is None or counts[smallest] < len(fewest):
            fewest = places[group == smallest]
    if not held and kinds_seen > 1 and fewest is not None:  # all have more copies than are wanted
        every[fewest] = True
