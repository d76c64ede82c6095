"""The peek job: the first rows of a data file as they are written, before a model is chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from studio.core.events.types import Event, PhaseEntered, RowsPeeked, RunFinished
from studio.core.jobs.orders import PeekOrder
from studio.core.recipe.schema_data import DataSource
from studio.core.runs.layout import RunLayout
from studio.engine.data.read import SkippedRows, source_path
from studio.engine.data.sources.packed import find_archive
from studio.engine.data.sources.registry import find_files, iter_rows
from studio.engine.data.sources.row import Reading
from studio.engine.jobs.requests import RequestFeed

_LONGEST_TEXT = 700
_MOST_ENTRIES = 60


def run(order: PeekOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Reads no further than the rows that are wanted.

    Yields:
        PhaseEntered, RowsPeeked, RunFinished.

    Raises:
        StudioError: The file is missing, damaged or of an unknown kind.
    """
    del layout, control  # the order says everything, and it takes a moment
    yield PhaseEntered(phase="loading_data")
    source = DataSource(source=order.source, revision=order.revision, split=order.split)
    path = source_path(source, Path(order.base_folder))
    reading = Reading(on_broken=SkippedRows().add)
    found = iter_rows(path, order.rows + 1, split=order.split, reading=reading)
    rows = [dict(row.values) for row in islice(found, order.rows + 1)]
    files = {find_archive(one) or one for one in find_files(path, order.split)}
    yield RowsPeeked(
        rows=tuple(json.dumps(shorten(row), default=str) for row in rows[: order.rows]),
        row_count=len(rows) if len(rows) <= order.rows else None,
        size_bytes=sum(one.stat().st_size for one in files),
    )
    yield RunFinished(step=0)


def shorten(value: Any) -> Any:
    """Return a value of a row with long texts and lists cut, and bytes told by their number."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else f"{value[:_LONGEST_TEXT]} …"
    if isinstance(value, bytes):
        return f"({len(value):,} bytes)"
    if isinstance(value, dict):
        return {str(key): shorten(item) for key, item in islice(value.items(), _MOST_ENTRIES)}
    if isinstance(value, list | tuple):
        return [shorten(item) for item in value[:_MOST_ENTRIES]]
    return value
