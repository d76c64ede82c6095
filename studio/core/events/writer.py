"""The append-only journal of one job: one line per fact, whole lines only."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from studio.core.errors import FileUnusable
from studio.core.events.codec import decode, encode
from studio.core.events.types import (
    AdapterSaved,
    CheckpointSaved,
    Event,
    ExportFinished,
    RunFailed,
    RunFinished,
    RunStopped,
)
from studio.core.files import get_file_error

SURVIVING = (
    AdapterSaved,
    CheckpointSaved,
    ExportFinished,
    RunFailed,
    RunFinished,
    RunStopped,
)
"""Facts that are flushed to the disk before ``write`` returns, so that no power cut undoes them."""

_BLOCK_BYTES = 65_536
EventT = TypeVar("EventT", bound=Event)


class EventWriter:
    """Appends events to a journal; a context manager, usable from several threads.

    Opening repairs what an earlier process left half written at the end of the file.

    Raises:
        DiskFull: No space is left; the journal keeps its whole lines.
        FileUnusable: The journal cannot be opened or written.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.open(path, flags, 0o644)
        except OSError as error:
            raise get_file_error(path, error) from error
        self._is_open = True
        try:
            _repair_end(self._file)
        except OSError as error:
            self.close()
            raise get_file_error(path, error) from error

    def write(self, event: EventT) -> EventT:
        """Appends the event, stamped with the time of now; returns the stamped event."""
        stamped = event.model_copy(update={"time_seconds": self._clock()})
        line = f"{encode(stamped)}\n".encode()
        with self._lock:
            if not self._is_open:
                raise FileUnusable(
                    f"{self._path} cannot be written: the journal of this run was closed.",
                    "Start the run again.",
                )
            try:
                self._append(line)
                if isinstance(event, SURVIVING):
                    os.fsync(self._file)
            except OSError as error:
                raise get_file_error(self._path, error) from error
        return stamped

    def close(self) -> None:
        """Closes the journal; closing twice is allowed."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                os.close(self._file)

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        start = os.fstat(self._file).st_size
        written = os.write(self._file, line)
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            # The system took a part before the disk was full: whole lines only.
            os.ftruncate(self._file, start)
            raise


def _repair_end(file: int) -> None:
    """Completes or cuts off a last line without a line break."""
    size = os.fstat(file).st_size
    if size == 0:
        return
    start, last_line = _read_last_line(file, size)
    if not last_line:
        return
    if _is_whole(last_line):
        os.write(file, b"\n")
    else:
        os.ftruncate(file, start)


def _read_last_line(file: int, size: int) -> tuple[int, bytes]:
    """Returns where the text after the last line break starts, and that text."""
    start, content = size, b""
    while start > 0:
        block_start = max(0, start - _BLOCK_BYTES)
        os.lseek(file, block_start, os.SEEK_SET)
        block = os.read(file, start - block_start)
        content = block + content
        position = block.rfind(b"\n")
        if position >= 0:
            return block_start + position + 1, content[position + 1 :]
        start = block_start
    return 0, content


def _is_whole(line: bytes) -> bool:
    try:
        decode(line)
    except ValueError:
        return False
    return True
