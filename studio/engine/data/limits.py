"""What each possible limit on the length of a row would cut away, lose and save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.chunks import list_places
from studio.engine.data.table import RowTable, count_learnt
from studio.engine.data.truncate import fit_conversation

LIMITS = 40
_MOST_LONG_ROWS = 1500
"""Rows whose loss is counted one by one; more are judged by a sample of that many."""


@dataclass(frozen=True)
class LimitCosts:
    """Per limit: shares of rows cut, rows lost, supervised tokens lost and tokens kept."""

    limits: tuple[int, ...]
    cut_rows: tuple[float, ...]
    lost_rows: tuple[float, ...]
    lost_supervised: tuple[float, ...]
    kept_tokens: tuple[float, ...]


def measure_limits(
    tables: Sequence[RowTable], chosen: Sequence[NDArray[np.bool_]], wanted: Sequence[int]
) -> LimitCosts:
    """Return the cost of about 40 limits, those ``wanted`` among them.

    Running text is divided, never cut, so that it costs nothing. Where more than 1,500 rows are
    longer than a limit, what answers lose is judged by every n-th of them.
    """
    lengths = _join(tables, chosen, "length")
    if not len(lengths):
        return LimitCosts((), (), (), (), ())
    is_text = _join(tables, chosen, "is_text")
    learnt = _join(tables, chosen, "learnt")
    limits = choose_limits(lengths, wanted)
    chats = list_places(~is_text)
    every = max(1, -(-len(chats) // _MOST_LONG_ROWS))
    ends = np.cumsum([np.count_nonzero(one) for one in chosen])
    pairs = []
    for place in chats[::every].tolist():
        owner = int(np.searchsorted(ends, place, side="right"))
        pairs.append((owner, place - (int(ends[owner - 1]) if owner else 0)))
    rows = [list_places(one) for one in chosen]
    lost = _count_lost([(tables[owner], int(rows[owner][at])) for owner, at in pairs], limits)
    texts = learnt[is_text].sum(dtype=np.int64)
    sampled = max(1, int(learnt[chats[::every]].sum(dtype=np.int64) + texts / every))
    cut = np.array([((lengths > one) & ~is_text).mean() for one in limits])
    kept = [
        np.where(is_text, lengths, np.minimum(lengths, one)).sum(dtype=np.int64) for one in limits
    ]
    return LimitCosts(
        tuple(limits),
        tuple(cut.tolist()),
        tuple((lost[0] * every / len(lengths)).clip(0, 1).tolist()),
        tuple((lost[1] / sampled).clip(0, 1).tolist()),
        tuple((np.array(kept) / lengths.sum(dtype=np.int64)).tolist()),
    )


def _join(
    tables: Sequence[RowTable], chosen: Sequence[NDArray[np.bool_]], name: str
) -> NDArray[Any]:
    pairs = zip(tables, chosen, strict=True)
    return np.concatenate([table.column(name)[one] for table, one in pairs])


def choose_limits(lengths: NDArray[np.integer[Any]], wanted: Sequence[int]) -> list[int]:
    """Return limits to look at, from short to the longest row; ``wanted`` ones are among them."""
    longest = int(lengths.max())
    shares = np.quantile(lengths, np.linspace(0, 1, LIMITS // 2), method="higher")
    evenly = np.linspace(max(1, longest // LIMITS), longest, LIMITS // 2).round()
    found = {int(one) for one in (*shares, *evenly)} | {min(one, longest) for one in wanted}
    return sorted(one for one in found if one >= 1)


def _count_lost(
    pairs: Sequence[tuple[RowTable, int]], limits: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return per limit how many of these rows are lost, and how many supervised tokens."""
    rows, tokens = np.zeros(len(limits)), np.zeros(len(limits))
    for table, place in pairs:
        length = int(table.rows["length"][place])
        if length <= limits[0]:
            continue
        encoded = table.encoded(place)
        learnt = count_learnt(encoded.trained)
        supervised = encoded.supervised
        supervised[:1] = False
        for index, limit in enumerate(limits):
            if length <= limit:
                break
            piece = fit_conversation(encoded, limit)
            rows[index] += piece is None
            tokens[index] += (
                learnt if piece is None else int(supervised[piece.cut[0] : piece.cut[1]].sum())
            )
    return rows, tokens
