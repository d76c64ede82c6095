"""Holding back rows for validation, decided by what the rows say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def choose_validation(digests: Sequence[bytes], fraction: float) -> list[bool]:
    """Return which rows are held back, one flag per row.

    Rows that say the same stay together, so that nothing is learnt and tested at once. The choice
    depends on the contents alone, not on the order of the rows. With two different rows or more
    and a fraction above 0, each side gets at least one row.
    """
    counts = Counter(digests)
    if fraction <= 0 or len(counts) < 2:
        return [False] * len(digests)
    wanted = min(max(1, round(fraction * len(digests))), len(digests) - 1)
    chosen: set[bytes] = set()
    held = 0
    for digest in sorted(counts):
        if held + counts[digest] <= wanted:
            chosen.add(digest)
            held += counts[digest]
    if not chosen:  # every row has more copies than are wanted
        chosen.add(min(counts, key=lambda digest: (counts[digest], digest)))
    return [digest in chosen for digest in digests]
