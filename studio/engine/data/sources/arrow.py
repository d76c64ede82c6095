"""Arrow files as the library datasets saves them (streams), and Feather files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core.errors import DatasetInvalid
from studio.engine.data.sources.columnar import iter_values, require_arrow
from studio.engine.data.sources.encoding import check_file, unreadable
from studio.engine.data.sources.row import Reading, Row

suffixes = (".arrow", ".feather")

_FILE_MARK = b"ARROW1"
_ROWS_AT_ONCE = 256


def iter_rows(path: Path, reading: Reading) -> Iterator[Row]:  # noqa: ARG001 - rows cannot be broken one by one
    """Yield the rows.

    Raises:
        FileUnusable: The file is missing or may not be read, or pyarrow is not installed.
        DatasetInvalid: It is no Arrow file, damaged, or holds no rows.
    """
    check_file(path)
    arrow = require_arrow(path)
    try:
        with path.open("rb") as stream:
            is_file = stream.read(len(_FILE_MARK)) == _FILE_MARK
    except OSError as error:
        raise unreadable(path, error) from error
    return (yield from iter_values(path, _iter_batches(arrow, path, is_file)))


def _iter_batches(arrow: Any, path: Path, is_file: bool) -> Iterator[Any]:
    ipc = require_arrow(path, "pyarrow.ipc")
    try:
        with arrow.memory_map(str(path), "r") as mapped:
            if is_file:
                reader = ipc.open_file(mapped)
                whole = (reader.get_batch(index) for index in range(reader.num_record_batches))
            else:
                whole = iter(ipc.open_stream(mapped))
            for batch in whole:
                batch.validate(full=True)  # offsets that point outside would crash the process
                for start in range(0, len(batch), _ROWS_AT_ONCE):
                    yield batch.slice(start, _ROWS_AT_ONCE)
    except (arrow.ArrowException, OSError, MemoryError) as error:
        raise DatasetInvalid(
            f"{path.name} is not a readable Arrow file: {error}.",
            "The file is damaged or incomplete: copy or save it again.",
        ) from error
