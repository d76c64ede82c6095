"""Reading a journal that another process is still writing."""

from __future__ import annotations

from pathlib import Path

from studio.core.events.codec import decode
from studio.core.events.types import Event
from studio.core.files import get_file_error


class LineTail:
    """Reads the whole lines that were appended to a file since the last read.

    ``offset`` (bytes) is where the next read starts; it always stands behind a line break.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self.offset = offset

    def read_lines(self, max_bytes: int) -> list[bytes]:
        """Returns new complete lines, at most about ``max_bytes`` of them; never waits.

        A file that is not there yet has no lines. One line longer than ``max_bytes`` is returned
        whole.

        Raises:
            FileUnusable: The file exists and cannot be read.
        """
        try:
            with self._path.open("rb", buffering=0) as stream:
                stream.seek(self.offset)
                content = stream.read(max_bytes) or b""
                end = content.rfind(b"\n") + 1
                while not end:
                    more = stream.read(max_bytes)
                    if not more:
                        return []
                    end = more.rfind(b"\n") + 1
                    end += len(content) if end else 0
                    content += more
        except FileNotFoundError:
            return []
        except OSError as error:
            raise get_file_error(self._path, error, "read") from error
        self.offset += end
        return content[: end - 1].split(b"\n")


class EventTail:
    """Reads the events that were appended to a journal since the last read.

    ``skipped`` counts complete lines that were broken or of a type unknown to this version.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._lines = LineTail(path, offset)
        self.skipped = 0

    @property
    def offset(self) -> int:
        """Bytes read so far; the next read starts here."""
        return self._lines.offset

    def read(self, max_bytes: int = 1 << 20) -> list[Event]:
        """Returns new events, at most about ``max_bytes`` of journal; never waits.

        An empty list says that nothing new is there, or only lines that were skipped: compare
        ``offset`` to tell them apart.

        Raises:
            FileUnusable: The journal exists and cannot be read.
        """
        events = []
        for line in self._lines.read_lines(max_bytes):
            try:
                event = decode(line)
            except ValueError:
                event = None  # counted: a reader must outlive a damaged line
            if event is None:
                self.skipped += 1
            else:
                events.append(event)
        return events
