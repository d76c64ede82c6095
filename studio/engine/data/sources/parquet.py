"""Parquet files, read a few hundred rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core.errors import DatasetInvalid
from studio.engine.data.sources.columnar import iter_values, require_arrow
from studio.engine.data.sources.encoding import check_file, unreadable
from studio.engine.data.sources.row import Reading, Row

suffixes = (".parquet",)

_ROWS_AT_ONCE = 256
_BUFFER_BYTES = 1 << 20
"""Otherwise whole columns of a group of rows are read at once, and a group may be the file."""


def iter_rows(path: Path, reading: Reading) -> Iterator[Row]:  # noqa: ARG001 - rows cannot be broken one by one
    """Yield the rows.

    Raises:
        FileUnusable: The file is missing or may not be read, or pyarrow is not installed.
        DatasetInvalid: It is no Parquet file, damaged, or holds no rows.
    """
    check_file(path)
    arrow = require_arrow(path)
    try:
        stream = path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from error
    with stream:
        return (yield from iter_values(path, _iter_batches(arrow, path, stream)))


def _iter_batches(arrow: Any, path: Path, stream: Any) -> Iterator[Any]:
    parquet = require_arrow(path, "pyarrow.parquet")
    try:
        opened = parquet.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        if opened.metadata.num_rows == 0:
            return
        yield from opened.iter_batches(batch_size=_ROWS_AT_ONCE, use_threads=False)
    except (arrow.ArrowException, OSError) as error:
        raise DatasetInvalid(
            f"{path.name} is not a readable Parquet file: {error}.",
            "The file is damaged or incomplete: copy or download it again.",
        ) from error
