"""A file that only grows, one value per line; damaged lines are passed over and counted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from studio.core.files import get_file_error, remove

ValueT = TypeVar("ValueT", bound=BaseModel)


class Journal(Generic[ValueT]):
    """Appends frozen values to a JSONL file and reads them back.

    ``skipped`` counts the lines of the last ``load`` that are no value of this kind.
    """

    def __init__(self, path: Path, kind: type[ValueT]) -> None:
        self._path = path
        self._kind = kind
        self.skipped = 0

    @property
    def path(self) -> Path:
        """The file; it need not exist yet."""
        return self._path

    def append(self, value: ValueT) -> None:
        """Writes one more line and flushes it to the disk.

        Raises:
            DiskFull: No space is left.
            FileUnusable: The file cannot be written.
        """
        line = value.model_dump_json().encode() + b"\n"
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, flags, 0o644)
            try:
                os.write(file, (b"" if _ends_with_line(file) else b"\n") + line)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise get_file_error(self._path, error) from error

    def clear(self) -> None:
        """Deletes the file with everything in it.

        Raises:
            FileUnusable: It cannot be deleted.
        """
        try:
            remove(self._path)
        except OSError as error:
            raise get_file_error(self._path, error, "deleted") from error

    def load(self) -> list[ValueT]:
        """Returns all values, oldest first; none if there is no file yet.

        Raises:
            FileUnusable: The file exists and cannot be read.
        """
        self.skipped = 0
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise get_file_error(self._path, error, "read") from error
        values = []
        for line in lines:
            try:
                values.append(self._kind.model_validate_json(line))
            except ValidationError:
                self.skipped += bool(line.strip())
        return values


def _ends_with_line(file: int) -> bool:
    """Returns whether the file is empty or its last line is complete."""
    size = os.fstat(file).st_size
    if size == 0:
        return True
    os.lseek(file, size - 1, os.SEEK_SET)
    return os.read(file, 1) == b"\n"
