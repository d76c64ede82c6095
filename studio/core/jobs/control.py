"""Requests to a running job: one line each in a file that only grows."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from studio.core.events.tail import LineTail
from studio.core.files import get_file_error
from studio.core.jobs.orders import AnyRequest, request_type
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import get_control_size, read_mark

_READ_BYTES = 1 << 20


def send(layout: RunLayout, request: AnyRequest) -> None:
    """Appends a request for the job of the run; it is read between two pieces of work.

    Raises:
        DiskFull: No space is left.
        FileUnusable: The run's folder is missing or not writable.
    """
    line = request_type.dump_json(request) + b"\n"
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    try:
        file = os.open(layout.control, flags, 0o644)
        try:
            if not _ends_with_line(file):
                line = b"\n" + line  # a sender was killed in the middle of its line
            os.write(file, line)
        finally:
            os.close(file)
    except OSError as error:
        raise get_file_error(layout.control, error) from error


class ControlTail:
    """Reads the requests that were appended since the last read.

    With ``from_end`` what is there already is passed over. ``skipped`` counts lines that are no
    request of this version.
    """

    def __init__(self, path: Path, from_end: bool = False, offset: int = 0) -> None:
        if from_end:
            offset = path.stat().st_size if path.exists() else 0
        self._lines = LineTail(path, offset)
        self.skipped = 0

    @classmethod
    def of_attempt(cls, layout: RunLayout) -> ControlTail:
        """Returns the tail for the job that owns the run now.

        It starts where the file ended when this attempt was started: requests to earlier attempts
        are passed over, and a Stop pressed while the job was still loading is not lost.
        """
        owner = read_mark(layout.owner)
        offset = get_control_size(layout) if owner is None else owner.control_offset
        return cls(layout.control, offset=offset)

    def read(self) -> list[AnyRequest]:
        """Returns new requests in the order they were sent; never waits.

        Raises:
            FileUnusable: The file exists and cannot be read.
        """
        requests = []
        for line in self._lines.read_lines(_READ_BYTES):
            if not line.strip():
                continue
            try:
                requests.append(request_type.validate_json(line))
            except ValidationError:
                self.skipped += 1
        return requests


def _ends_with_line(file: int) -> bool:
    size = os.fstat(file).st_size
    if size == 0:
        return True
    os.lseek(file, size - 1, os.SEEK_SET)
    return os.read(file, 1) == b"\n"
