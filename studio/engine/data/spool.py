"""Rows of a file put by on disk, so that any of them can be read again at once."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.files import get_file_error
from studio.engine.data.columns import Layout
from studio.engine.data.conversation import Record
from studio.engine.data.file_rows import FileRows
from studio.engine.data.patterns import columns_of
from studio.engine.data.sources.row import Row

_ROWS, _FACTS = "rows.json", "facts.bin"
FACT = np.dtype(
    [
        ("key", "S16"),
        ("end", "<i8"),  # of what it says, in the other file
        ("number", "<i8"),
        ("line", "<i8"),  # 0 where files have no lines
        ("part", "<i4"),  # which file of the source
        ("has_answer", "?"),
    ]
)
_PACK = struct.Struct("<16sqqqi?").pack
_write = json.JSONEncoder(default=str, check_circular=False).encode  # rows are read from files


class RowSpool:
    """Keeps the columns that a layout reads, in one file in ``folder``, which exists already.

    Numbers about the rows are put by in a second file, so that nothing grows in memory.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._layout = layout
        self._columns = _find_columns(layout.columns.values())
        self._parts: dict[Path, int] = {}
        self._rows = self._end = 0
        self._path = folder / _ROWS
        self._facts_path = folder / _FACTS
        self._stream = self._path.open("w+b")
        self._facts_stream = self._facts_path.open("wb")
        self._facts: FileRows | None = None

    def __len__(self) -> int:
        return self._rows

    def add(self, row: Row, key: bytes, *, has_answer: bool) -> None:
        """Put a row by, with what it says as 16 bytes and whether there is anything to learn.

        Raises:
            DiskFull: No space is left.
            FileUnusable: The program's folder is not writable.
        """
        kept = {name: row.values[name] for name in self._columns if name in row.values}
        raw = _write(kept).encode("ascii")
        self._end += len(raw)
        part = self._parts.setdefault(row.path, len(self._parts))
        fact = _PACK(key, self._end, row.number, row.line or 0, part, has_answer)
        try:
            self._stream.write(raw)
            self._facts_stream.write(fact)
        except OSError as error:
            raise get_file_error(self._path, error) from error
        self._rows += 1

    def finish(self) -> FileRows:
        """Return the numbers about all rows, which stay on disk: shape ``(rows,)`` of ``FACT``.

        No row can be added afterwards.

        Raises:
            DiskFull: No space is left.
        """
        try:
            self._stream.flush()
            self._facts_stream.close()
        except OSError as error:
            raise get_file_error(self._path, error) from error
        self._facts = FileRows(self._facts_path, FACT)
        return self._facts

    def read(self, place: int) -> tuple[Row, Record]:
        """Return the row that was put by as number ``place``, and what it says.

        All rows must be there: ``finish`` was called.
        """
        if self._facts is None:
            raise LookupError("rows are still being put by")
        facts = self._facts[max(0, place - 1) : place + 1]
        fact = facts[-1]
        start = int(facts[0]["end"]) if place else 0
        self._stream.seek(start)
        values: Mapping[str, Any] = json.loads(self._stream.read(int(fact["end"]) - start))
        part = list(self._parts)[int(fact["part"])]
        row = Row(values, part, int(fact["number"]), int(fact["line"]) or None)
        return row, self._layout.read(row)

    def close(self) -> None:
        """Close the files."""
        self._stream.close()
        self._facts_stream.close()
        if self._facts is not None:
            self._facts.close()


def _find_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the names of all columns that are looked at, those inside patterns among them."""
    names = [name for column in columns for name in (column, *columns_of(column))]
    return tuple(dict.fromkeys(names))
