"""JSON: one list of objects, or objects one after the other; read piece by piece."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from studio.core.errors import DatasetInvalid
from studio.engine.data.sources.encoding import decode, open_text
from studio.engine.data.sources.row import MAX_ROW_BYTES, NO_ROWS, Reading, Row, check_object
from studio.engine.data.turns import quoted

suffixes = (".json",)

_CHUNK_BYTES = 1 << 18
_BLANK = " \t\r\n"


def iter_rows(path: Path, reading: Reading) -> Iterator[Row]:
    """Yield the objects of the list, or objects written one after the other.

    An entry that is no object is a broken row; a fault in the JSON itself ends the reading,
    because nobody can tell where the next entry begins.

    Raises:
        FileUnusable: The file is missing or may not be read.
        DatasetInvalid: It is not JSON, or not a list of objects; names the line and the column.
    """
    with open_text(path) as stream:
        reader = _Reader(path, stream)
        first = reader.peek()
        if first == "[":
            reader.skip(1)
            rows = _iter_list(reader)
        elif first == "{":
            rows = _iter_objects(reader)
        else:
            raise reader.error("a list of objects is expected, starting with [")
        number = 0
        for value in rows:
            number += 1
            if first == "{" and number == 1 and reader.peek() == "":
                _check_single_object(value, path)
            try:
                values = check_object(value, path, number, None)
            except DatasetInvalid as error:
                reading.on_broken(error)
            else:
                yield Row(values, path, number)
    if number == 0:
        raise DatasetInvalid(
            f"The list in {path} is empty.", "Choose a file with examples.", code=NO_ROWS
        )


def _iter_list(reader: _Reader) -> Iterator[object]:
    if reader.peek() == "]":
        reader.skip(1)
    else:
        while True:
            yield reader.read_value()
            mark = reader.peek()
            reader.skip(1)
            if mark == "]":
                break
            if mark != ",":
                raise reader.error("a comma or the end of the list ] is expected")
    if reader.peek():
        raise reader.error("nothing may follow the end of the list")


def _iter_objects(reader: _Reader) -> Iterator[object]:
    while reader.peek():
        yield reader.read_value()


def _check_single_object(value: object, path: Path) -> None:
    lists = (
        [key for key, item in value.items() if _is_object_list(item)]
        if isinstance(value, dict)
        else []
    )
    if len(lists) == 1 and lists[0] not in ("messages", "conversations"):
        raise DatasetInvalid(
            f"{path.name} holds one object whose rows are inside the key {quoted(lists[0])}.",
            f"Save the list under {quoted(lists[0])} as a file of its own.",
        )


def _is_object_list(item: object) -> bool:
    return isinstance(item, list) and bool(item) and isinstance(item[0], dict)


class _Reader:
    """A window over the file that holds one value at a time."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path = path
        self._stream = stream
        self._bytes = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._text = ""
        self._position = 0
        self._lines_before = 0
        self._columns_before = 0
        self._ended = False

    def peek(self) -> str:
        """Return the next character that is not blank, or nothing at the end of the file."""
        while True:
            while self._position < len(self._text):
                character = self._text[self._position]
                if character not in _BLANK:
                    return character
                self._position += 1
            if not self._fill():
                return ""

    def skip(self, characters: int) -> None:
        """Move on."""
        self._position += characters

    def read_value(self) -> object:
        """Return the next value, reading on until it is complete."""
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                started = self._position
                if self._may_be_incomplete(error) and self._fill(len(self._text)):
                    continue
                # Filling forgets what stands before the position.
                self._position += error.pos - started
                raise self.error(error.msg) from error
            except RecursionError as error:
                raise self.error("this is nested too deeply to be read") from error
            except ValueError as error:
                raise self.error("a number has too many digits") from error
            else:
                complete = isinstance(value, dict | list | str) or end < len(self._text)
                if complete or not self._fill():
                    self._position = end
                    return value

    def error(self, reason: str) -> DatasetInvalid:
        """Return an error that names the line and the column of the position."""
        before = self._text[: self._position]
        line = self._lines_before + before.count("\n") + 1
        last = before.rfind("\n")
        column = len(before) - last if last >= 0 else self._columns_before + len(before) + 1
        what = reason[:1].lower() + reason[1:]
        return DatasetInvalid(
            f"{self._path.name}, line {line}, column {column} is not valid: {what}.",
            "The file must be a list of objects in JSON: [{…}, {…}].",
        )

    def _may_be_incomplete(self, error: json.JSONDecodeError) -> bool:
        """Return whether more text could still make the value valid."""
        if self._ended:
            return False
        rest = len(self._text) - error.pos
        return rest < 16 or self._text[error.pos] == '"'

    def _fill(self, wanted: int = 0) -> bool:
        """Read on; return False at the end of the file. Text behind the position is forgotten."""
        if self._ended:
            return False
        self._forget()
        if len(self._text) > MAX_ROW_BYTES:
            raise self.error(f"one row is longer than {MAX_ROW_BYTES >> 20} MB")
        raw = self._stream.read(max(_CHUNK_BYTES, wanted))
        self._ended = not raw
        line = self._lines_before + self._text.count("\n") + 1
        try:
            more = self._bytes.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            good = raw[: error.start].count(b"\n")
            raise DatasetInvalid(
                f"{self._path.name}, about line {line + good} is not UTF-8 text.",
                "Save the file as UTF-8 (most editors offer it under Save as).",
            ) from error
        if "\0" in more:
            decode(
                more[: more.index("\0") + 1].encode(),
                self._path,
                line + more.count("\n", 0, more.index("\0")),
            )
        self._text += more
        return bool(more) or not self._ended

    def _forget(self) -> None:
        gone = self._text[: self._position]
        last = gone.rfind("\n")
        self._lines_before += gone.count("\n")
        self._columns_before = (
            len(gone) - last - 1 if last >= 0 else self._columns_before + len(gone)
        )
        self._text = self._text[self._position :]
        self._position = 0
