"""How long the rows are, as a histogram, and what a limit cuts away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.chunks import iter_chunks

BINS = 40


@dataclass(frozen=True)
class LengthHistogram:
    """Rows by length; bin ``i`` holds lengths from ``edges[i]`` to ``edges[i + 1] - 1``.

    The shares say what of all rows and of all tokens lies beyond the limit.
    """

    edges: tuple[int, ...]
    rows: tuple[int, ...]
    cut_rows_fraction: float
    cut_tokens_fraction: float


def measure_lengths(lengths: NDArray[np.integer[Any]], max_tokens: int) -> LengthHistogram:
    """Return the histogram of lengths, shape ``(rows,)``, with at most 40 bins of equal width."""
    if not len(lengths):
        return LengthHistogram((), (), 0.0, 0.0)
    longest = int(lengths.max())
    width = -(-(longest + 1) // BINS)
    edges = np.arange(0, longest + 1 + width, width)
    counts = np.zeros(len(edges) - 1, dtype=np.int64)
    cut_rows = cut_tokens = 0
    for _, some in iter_chunks(lengths):
        counts += np.bincount(some // width, minlength=len(counts))
        beyond = some[some > max_tokens].astype(np.int64) - max_tokens
        cut_rows += len(beyond)
        cut_tokens += int(beyond.sum())
    return LengthHistogram(
        tuple(edges.tolist()),
        tuple(counts.tolist()),
        cut_rows / len(lengths),
        cut_tokens / int(lengths.sum(dtype=np.int64)),
    )
