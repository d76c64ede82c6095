"""What Parquet and Arrow files have in common: batches of columns that become rows."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core.errors import DatasetInvalid, FileUnusable
from studio.engine.data.sources.row import NO_ROWS, Row


def require_arrow(path: Path, module: str = "pyarrow") -> Any:
    """Return the package pyarrow or a part of it, imported only now.

    Raises:
        FileUnusable: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise FileUnusable(
            f"{path.name} needs the package pyarrow, which is not installed ({error}).",
            "Install it with: pip install pyarrow. Or save the data as JSONL.",
        ) from error


def iter_values(path: Path, batches: Iterator[Any]) -> Iterator[Row]:
    """Yield the rows of record batches.

    Raises:
        DatasetInvalid: There are no rows, or a text is not UTF-8.
    """
    number = 0
    for batch in batches:
        try:
            rows: list[dict[str, Any]] = batch.to_pylist()
        except (UnicodeDecodeError, ValueError, OverflowError) as error:
            raise DatasetInvalid(
                f"{path.name}, between row {number + 1} and {number + len(batch)}, holds a value "
                f"that cannot be read: {error}.",
                "Export the data again; texts must be UTF-8.",
            ) from error
        for values in rows:
            number += 1
            yield Row(values, path, number)
    if number == 0:
        raise DatasetInvalid(
            f"{path.name} holds no rows.", "Choose a file with examples.", code=NO_ROWS
        )
