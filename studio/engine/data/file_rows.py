"""Numbers about rows that stay in a file: only what is asked for is read into memory.

Nothing is mapped: what was read of a mapped file counts as memory of the process until the system
takes it back, and Windows deletes no file that is mapped.
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray


class FileRows:
    """The rows of a file, or one column of them, to be read like an array; shape ``(rows,)``.

    Any thread may read. What is read is a copy of its own.
    """

    def __init__(self, path: Path, kind: Any) -> None:
        """Open a file of rows of a numpy ``kind``; it is closed when nobody has it any more."""
        self.dtype = self._kind = np.dtype(kind)
        self._column: str | None = None
        self._file = _OpenFile(path)
        self._count: int = self._file.size // self._kind.itemsize

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, where: str) -> FileRows: ...

    @overload
    def __getitem__(self, where: slice) -> NDArray[Any]: ...

    @overload
    def __getitem__(self, where: int) -> Any: ...

    def __getitem__(self, where: str | slice | int) -> Any:
        """Return a column, consecutive rows or one row."""
        if isinstance(where, str):
            return self._find_column(where)
        if isinstance(where, slice):
            start, stop, step = where.indices(self._count)
            return self._read(start, max(start, stop))[::step]
        place = range(self._count)[where]
        return self._read(place, place + 1)[0]

    def take(self, places: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Return the rows at these places, read in one go: they should lie close together."""
        if not len(places):
            return np.zeros(0, dtype=self.dtype)
        first = int(places.min())
        found: NDArray[Any] = self._read(first, int(places.max()) + 1)[places - first]
        return found

    def close(self) -> None:
        """Close the file at once, also for whoever has another column of it."""
        self._file.close()

    def _find_column(self, name: str) -> FileRows:
        found = object.__new__(FileRows)
        found.__dict__.update(self.__dict__)
        found._column, found.dtype = name, self._kind[name]
        return found

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        size = self._kind.itemsize
        raw = self._file.read(start * size, (stop - start) * size)
        rows: NDArray[Any] = np.frombuffer(raw, self._kind)
        return rows if self._column is None else np.asarray(rows[self._column])


Rows: TypeAlias = NDArray[Any] | FileRows
"""Rows in memory or in a file."""


class _OpenFile:
    """An open file of a known size that any thread may read anywhere."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.close = weakref.finalize(self, os.close, self._number)
        self.size = os.fstat(self._number).st_size

    def read(self, start: int, count: int) -> bytes:
        """Return bytes of the file.

        Raises:
            OSError: It was made shorter since it was opened, or the disk fails.
        """
        with self._lock:
            os.lseek(self._number, start, os.SEEK_SET)
            found = os.read(self._number, count)
        if len(found) != count:
            raise OSError(f"{self._path} ends too early; was it changed while it was in use?")
        return found
