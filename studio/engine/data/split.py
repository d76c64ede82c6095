"""Holding back rows for validation, decided by what the rows say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.example import Flags


def choose_validation(keys: Sequence[bytes] | NDArray[np.bytes_], fraction: float) -> Flags:
    """Return which rows are held back; shape ``(rows,)``.

    Rows that say the same stay together, so that nothing is learnt and tested at once. The choice
    depends on the contents alone, not on the order of the rows. With two different rows or more
    and a fraction above 0, each side gets at least one row.

    Args:
        keys: 16 bytes per row, equal where rows say the same.
        fraction: Wanted share of the rows.
    """
    every = np.asarray(keys, dtype="S16")
    kinds, group, counts = np.unique(every, return_inverse=True, return_counts=True)
    chosen = np.zeros(len(kinds), dtype=np.bool_)
    if fraction <= 0 or len(kinds) < 2:
        return np.zeros(len(every), dtype=np.bool_)
    wanted = min(max(1, round(fraction * len(every))), len(every) - 1)
    held = 0
    for index, count in enumerate(counts.tolist()):
        if held + count <= wanted:
            chosen[index] = True
            held += count
        if held == wanted:
            break
    if not held:  # every row has more copies than are wanted
        chosen[int(np.argmin(counts))] = True
    return np.asarray(chosen[group])
