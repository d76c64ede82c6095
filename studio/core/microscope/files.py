"""The two small files in which a run keeps what each of its rows cost.

``row_origins.bin`` holds 32 bytes per document: where it comes from. ``row_losses.bin`` is only
ever written at its end: 8 bytes per step and 8 bytes per document of the step, so that 100,000
rows take 3.2 MB and 0.8 MB per epoch.
"""

from __future__ import annotations

import struct
import sys
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from studio.core.errors import FileUnusable
from studio.core.files import get_file_error

ORIGINS_MAGIC = b"LoRA Studio row origins 1".ljust(32, b"\0")
LOSSES_MAGIC = b"RowLoss1"
STEP_MARK = 0xFFFF_FFFF
"""Stands in the place of a document's number where the number of a step follows."""

RECORD_BYTES = 8
_ORIGIN = struct.Struct("<HHIII16s")
_MARK = struct.Struct("<II")
_LOSS = struct.Struct("<Iee")
_LARGEST = 65_504.0  # of float16
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class RowOrigin:
    """One document: a row of the file at position ``source`` of the files in use.

    ``index`` counts the readable rows of the source from 0, ``number`` the rows of its file from
    1; ``line`` is 0 where the file has no lines. A long text is several documents, its pieces
    count from 0. ``mark`` tells the row by what it says, as ``data.exclude`` of a recipe does.
    """

    source: int
    piece: int
    index: int
    number: int
    line: int
    mark: str


class RowOrigins:
    """The documents of a run by their number; unpacked only where one is looked at."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __len__(self) -> int:
        return max(0, len(self._content) // _ORIGIN.size - 1)

    def __getitem__(self, document: int) -> RowOrigin:
        if not 0 <= document < len(self):
            raise IndexError(document)
        source, piece, index, number, line, mark = _ORIGIN.unpack_from(
            self._content, (document + 1) * _ORIGIN.size
        )
        return RowOrigin(source, piece, index, number, line, mark.hex())


def read_origins(path: Path) -> RowOrigins:
    """Returns the documents of a run; none where the run has kept none.

    Raises:
        FileUnusable: The file cannot be read or is something else.
    """
    content = _read(path, 0)
    if content and not content.startswith(ORIGINS_MAGIC):
        raise _get_damage(path)
    return RowOrigins(content)


def pack_step(step: int, records: list[tuple[int, float, float]]) -> bytes:
    """Returns what is written for one step: number, loss and shortfall of each document."""
    parts = [_MARK.pack(STEP_MARK, step)]
    for document, loss, shortfall in records:
        parts.append(_LOSS.pack(document, min(loss, _LARGEST), min(shortfall, _LARGEST)))
    return b"".join(parts)


@dataclass
class LossColumns:
    """Every look at a document in the order of training; the columns have equal lengths."""

    documents: array[int] = field(default_factory=lambda: array("I"))
    losses: array[float] = field(default_factory=lambda: array("f"))
    shortfalls: array[float] = field(default_factory=lambda: array("f"))
    read_bytes: int = 0
    last_step: int = -1

    def read_more(self, path: Path) -> bool:
        """Reads what was written since the last call; returns whether anything changed.

        A run that goes on from a checkpoint shortens its file; then all of it is read again.

        Raises:
            FileUnusable: The file cannot be read or is something else.
        """
        size = _get_size(path)
        if size < self.read_bytes:
            self._forget()
        start = max(self.read_bytes, len(LOSSES_MAGIC))
        count = (size - start) // RECORD_BYTES
        if count <= 0:
            return False
        if self.read_bytes == 0 and not _read(path, 0, len(LOSSES_MAGIC)) == LOSSES_MAGIC:
            raise _get_damage(path)
        content = _read(path, start, count * RECORD_BYTES)
        count = len(content) // RECORD_BYTES
        steps = self._add(content[: count * RECORD_BYTES])
        if steps and steps[0] <= self.last_step:  # shortened and grown again in the meantime
            self._forget()
            return self.read_more(path)
        self.last_step = steps[-1] if steps else self.last_step
        self.read_bytes = start + count * RECORD_BYTES
        return True

    def _add(self, content: bytes) -> list[int]:
        words = array("I")
        words.frombytes(content)
        if sys.byteorder == "big":
            words.byteswap()
        documents, values = words[::2], words[1::2]
        halves = struct.unpack(f"<{2 * len(words)}e", content)
        marks = [place for place, one in enumerate(documents) if one == STEP_MARK]
        begin = 0
        for end in [*marks, len(documents)]:
            self.documents.extend(documents[begin:end])
            self.losses.extend(halves[4 * begin + 2 : 4 * end : 4])
            self.shortfalls.extend(halves[4 * begin + 3 : 4 * end : 4])
            begin = end + 1
        return [values[place] for place in marks]

    def _forget(self) -> None:
        for column in (self.documents, self.losses, self.shortfalls):
            del column[:]
        self.read_bytes, self.last_step = 0, -1


def find_end(stream: BinaryIO, step: int) -> int:
    """Returns how many bytes of a file of losses are about steps before ``step``.

    A step that is not whole, because the machine stopped amid writing, is found by the caller's
    own step: it was not saved either. Only a part of the file is in memory at a time.
    """
    end = len(LOSSES_MAGIC)
    while True:
        stream.seek(end)
        content = stream.read(_BLOCK_BYTES)
        words = array("I")
        words.frombytes(content[: len(content) - len(content) % RECORD_BYTES])
        if sys.byteorder == "big":
            words.byteswap()
        for place in range(0, len(words), 2):
            if words[place] == STEP_MARK and words[place + 1] >= step:
                return end + 4 * place
        if not words:
            return end
        end += 4 * len(words)


def _read(path: Path, start: int, count: int = -1) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            return stream.read(count)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise get_file_error(path, error, "read") from error


def _get_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise get_file_error(path, error, "read") from error


def _get_damage(path: Path) -> FileUnusable:
    return FileUnusable(
        f"{path} does not hold what rows cost in training.",
        "Nothing else of the run is touched by that; train again to see its rows.",
    )
