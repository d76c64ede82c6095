"""Rows of a file put by on disk, so that any of them can be read again at once."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.core.files import get_file_error
from studio.engine.data.columns import Layout
from studio.engine.data.conversation import Record
from studio.engine.data.patterns import columns_of
from studio.engine.data.sources.row import Row

_NAME = "rows.json"


class RowSpool:
    """Keeps the columns that a layout reads, in one file in ``folder``, which exists already."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._path = folder / _NAME
        self._layout = layout
        self._columns = _find_columns(layout.columns.values())
        self._ends = array("q", [0])
        self._numbers = array("q")
        self._lines = array("q")
        self._parts: dict[Path, int] = {}
        self._part_of = array("i")
        self._stream = self._path.open("w+b")

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, row: Row) -> None:
        """Put a row by.

        Raises:
            DiskFull: No space is left.
            FileUnusable: The program's folder is not writable.
        """
        kept = {name: row.values[name] for name in self._columns if name in row.values}
        raw = json.dumps(kept, default=str).encode("ascii")
        try:
            self._stream.write(raw)
        except OSError as error:
            raise get_file_error(self._path, error) from error
        self._ends.append(self._ends[-1] + len(raw))
        self._numbers.append(row.number)
        self._lines.append(row.line or 0)
        self._part_of.append(self._parts.setdefault(row.path, len(self._parts)))

    def read(self, place: int) -> tuple[Row, Record]:
        """Return the row that was put by as number ``place``, and what it says."""
        start, end = self._ends[place], self._ends[place + 1]
        self._stream.seek(start)
        values: Mapping[str, Any] = json.loads(self._stream.read(end - start))
        part = list(self._parts)[self._part_of[place]]
        row = Row(values, part, self._numbers[place], self._lines[place] or None)
        return row, self._layout.read(row)

    def list_places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the numbers of the rows in their files, and their lines; 0 without lines.

        They are not copied: no row can be added afterwards.
        """
        return np.asarray(self._numbers), np.asarray(self._lines)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _find_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the names of all columns that are looked at, those inside patterns among them."""
    names = [name for column in columns for name in (column, *columns_of(column))]
    return tuple(dict.fromkeys(names))
