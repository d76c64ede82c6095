"""What jobs state about data: what was found in the files and how long the rows are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.core.events.types import DataSourceRead, LengthsMeasured
from studio.engine.data.lengths import measure_lengths
from studio.engine.data.prepare import SourceFinding


def source_events(findings: Sequence[SourceFinding]) -> Iterator[DataSourceRead]:
    """Yields one DataSourceRead per source."""
    for one in findings:
        yield DataSourceRead(
            source=str(one.path),
            format=one.format,
            columns=dict(one.columns),
            rows=one.rows,
            skipped_rows=one.skipped_rows,
        )


def lengths_event(lengths: NDArray[np.integer[Any]], max_tokens: int) -> LengthsMeasured:
    """Returns the histogram of the rows' lengths before cutting, shape ``(rows,)``."""
    found = measure_lengths(lengths, max_tokens)
    return LengthsMeasured(
        edges=found.edges,
        rows=found.rows,
        max_tokens=max_tokens,
        cut_rows_fraction=found.cut_rows_fraction,
        cut_tokens_fraction=found.cut_tokens_fraction,
    )
