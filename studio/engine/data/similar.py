"""Rows that share most of their words with another row, found without comparing all pairs.

Each row is a set of hashed runs of tokens. One hash function fills 64 bins with the smallest value
that falls into each (one-permutation MinHash, empty bins borrow from the next); rows that agree in
all four bins of one of sixteen bands are compared in full.

Source: Li, Owen, Zhang, "One Permutation Hashing", NeurIPS 2012; Shrivastava and Li, "Densifying
One Permutation Hashing via Rotation for Fast Near Neighbor Search", ICML 2014.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_SHARE = 0.8
"""Share of common runs (of all runs of both rows) from which two rows count as nearly the same."""

MOST_ROWS = 50_000
"""Rows that are compared; more would keep the user waiting."""
_RUN = 4
_BINS = 64
_BANDS = 16
_FEWEST_RUNS = 12
_COMMON_SHARE = 0.2
_SAMPLE_ROWS = 2_000
_FEWEST_FOR_COMMON = 50
_PIECE_TOKENS = 1 << 21
_EMPTY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_MIX = tuple(np.uint64(one) for one in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))

Runs = NDArray[np.uint64]


@dataclass(frozen=True)
class SimilarRows:
    """A row, an earlier one that says nearly the same, and the share of runs they have in common.

    Both are places in the rows that were given.
    """

    place: int
    other: int
    share: float


def find_similar(rows: Sequence[NDArray[np.int32]]) -> list[SimilarRows]:
    """Return for each row that is nearly the same as an earlier one that earlier one.

    ``rows`` are the tokens of each row without what a template writes before the first question.
    Runs that a fifth of all rows contain (instructions, the template itself) do not count.
    """
    rows = rows[:MOST_ROWS]
    common = _find_common(rows)
    kept, signatures = _build_signatures(rows, common)
    found: dict[int, SimilarRows] = {}
    compared: set[tuple[int, int]] = set()
    for first, second in _iter_candidates(signatures):
        one, other = int(kept[first]), int(kept[second])
        place, earlier = max(one, other), min(one, other)
        if place in found or (place, earlier) in compared:
            continue
        compared.add((place, earlier))
        share = measure_share(rows[place], rows[earlier], common)
        if share >= LEAST_SHARE:
            found[place] = SimilarRows(place, earlier, share)
    return [found[place] for place in sorted(found)]


def measure_share(
    one: NDArray[np.int32], other: NDArray[np.int32], common: Runs | None = None
) -> float:
    """Return the share of runs that two rows have in common, 0 to 1 (Jaccard)."""
    first, second = (np.unique(_drop(hash_runs(row), common)) for row in (one, other))
    shared = len(np.intersect1d(first, second, assume_unique=True))
    every = len(first) + len(second) - shared
    return shared / every if every else 0.0


def hash_runs(tokens: NDArray[np.int32]) -> Runs:
    """Return one number per run of four tokens; shape ``(tokens - 3,)``."""
    if len(tokens) < _RUN:
        return np.zeros(0, np.uint64)
    raw = tokens.astype(np.uint64)
    runs = np.zeros(len(raw) - _RUN + 1, np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(_RUN):
            runs = _mix(runs * _MIX[0] + raw[offset : len(raw) - _RUN + 1 + offset])
    return runs


def _mix(values: Runs) -> Runs:
    """Return the numbers well stirred (the finisher of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * _MIX[1]
    values = (values ^ (values >> np.uint64(27))) * _MIX[2]
    return np.asarray(values ^ (values >> np.uint64(31)))


def _drop(runs: Runs, common: Runs | None) -> Runs:
    if common is None or not len(common) or not len(runs):
        return runs
    places = np.minimum(np.searchsorted(common, runs), len(common) - 1)
    return np.asarray(runs[common[places] != runs])


def _find_common(rows: Sequence[NDArray[np.int32]]) -> Runs:
    """Return the runs that many rows contain, sorted; judged from evenly spaced rows."""
    step = max(1, len(rows) // _SAMPLE_ROWS)
    sample = [np.unique(hash_runs(row)) for row in rows[::step]]
    if len(sample) < _FEWEST_FOR_COMMON:
        return np.zeros(0, np.uint64)
    runs, counts = np.unique(np.concatenate(sample), return_counts=True)
    return np.asarray(runs[counts > _COMMON_SHARE * len(sample)])


def _build_signatures(
    rows: Sequence[NDArray[np.int32]], common: Runs
) -> tuple[NDArray[np.int64], Runs]:
    """Return the places of rows that are long enough, and their bins, ``(rows, 64)``."""
    places: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    bins: list[Runs] = [np.zeros((0, _BINS), np.uint64)]
    for start, end in _iter_pieces(rows):
        runs = [_drop(hash_runs(row), common) for row in rows[start:end]]
        sizes = np.array([len(one) for one in runs])
        owners = np.repeat(np.arange(end - start), sizes)
        every = np.concatenate(runs)
        table = np.full((end - start, _BINS), _EMPTY)
        np.minimum.at(table, (owners, (every >> np.uint64(58)).astype(np.int64)), every)
        long = sizes >= _FEWEST_RUNS
        places.append(np.flatnonzero(long) + start)
        bins.append(_fill_empty(table[long]))
    return np.concatenate(places), np.concatenate(bins)


def _iter_pieces(rows: Sequence[NDArray[np.int32]]) -> Iterator[tuple[int, int]]:
    """Yield first and last place of stretches of rows with a bounded number of tokens."""
    start = total = 0
    for place, row in enumerate(rows):
        total += len(row)
        if total >= _PIECE_TOKENS:
            yield start, place + 1
            start, total = place + 1, 0
    if start < len(rows):
        yield start, len(rows)


def _fill_empty(table: Runs) -> Runs:
    """Return the bins with empty ones filled from the next that is not, marked by the distance."""
    filled = table.copy()
    with np.errstate(over="ignore"):
        for distance in range(1, _BINS):
            empty = filled == _EMPTY
            if not empty.any():
                break
            lent = np.roll(table, -distance, axis=1)
            is_lent = empty & (lent != _EMPTY)
            filled[is_lent] = _mix(lent[is_lent] + np.uint64(distance))
    return filled


def _iter_candidates(signatures: Runs) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows that agree in a band; in a large group, each with the first two."""
    width = _BINS // _BANDS
    with np.errstate(over="ignore"):
        for band in range(_BANDS):
            part = signatures[:, band * width : (band + 1) * width]
            keys = np.zeros(len(part), np.uint64)
            for column in range(width):
                keys = _mix(keys * _MIX[0] + part[:, column])
            order = np.argsort(keys, kind="stable")
            is_same = keys[order][1:] == keys[order][:-1]
            leader = 0
            for index in np.flatnonzero(is_same).tolist():
                if index == 0 or not is_same[index - 1]:
                    leader = int(order[index])
                follower = int(order[index + 1])
                yield leader, follower
                if int(order[index]) != leader:
                    yield int(order[index]), follower
