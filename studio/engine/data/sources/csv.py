"""CSV and TSV: the first line names the columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from studio.core.errors import DatasetInvalid
from studio.engine.data.sources.encoding import build_decoder, decode, iter_raw_lines, open_text
from studio.engine.data.sources.packed import inner_name
from studio.engine.data.sources.row import MAX_ROW_BYTES, NO_ROWS, Reading, Row

suffixes = (".csv", ".tsv")

_DELIMITERS = (",", ";", "\t", "|")


def iter_rows(path: Path, reading: Reading) -> Iterator[Row]:
    """Yield the rows; every value is text. Quoted values may span several lines.

    The delimiter is the one that the first line holds most often; programs that write decimal
    commas use a semicolon.

    Raises:
        FileUnusable: The file is missing or may not be read.
        DatasetInvalid: A row has more or fewer values than there are columns, a quotation mark is
            never closed, or a column has no name of its own.
    """
    csv.field_size_limit(MAX_ROW_BYTES)  # the limit of the standard library is 128 KB
    with open_text(path) as stream:
        lines = _iter_lines(stream, path, reading)
        head = next(lines, "")
        reader = csv.reader(_chain(head, lines), delimiter=_delimiter(path, head), strict=True)
        columns = _read_columns(reader, path)
        number, line = 0, reader.line_num + 1
        head_end = line
        for values in _iter_checked(reader, path):
            if len(values) == len(columns):
                number += 1
                yield Row(dict(zip(columns, values, strict=True)), path, number, line)
            elif values:
                reading.on_broken(_ragged(values, columns, path, line))
            line = reader.line_num + 1
    if line == head_end:
        raise DatasetInvalid(
            f"{path.name} holds the names of columns and no rows.",
            "Choose a file with examples.",
            code=NO_ROWS,
        )


def _iter_lines(stream: BinaryIO, path: Path, reading: Reading) -> Iterator[str]:
    decoder = build_decoder(path, reading)
    for number, raw in enumerate(iter_raw_lines(stream), start=1):
        if raw is None:
            raise DatasetInvalid(
                f"{path.name}, line {number} is longer than {MAX_ROW_BYTES >> 20} MB.",
                "Check that this is a table with one example per row.",
            )
        try:
            text = decode(raw, path, number, decoder.decode)
        except DatasetInvalid as error:
            if number == 1:
                raise
            reading.on_broken(error)
            text = "\n"  # a blank line, so that the lines behind it keep their numbers
        yield text


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(path: Path, head: str) -> str:
    if inner_name(path).lower().endswith(".tsv"):
        return "\t"
    return max(_DELIMITERS, key=head.count)


def _read_columns(reader: Iterator[list[str]], path: Path) -> list[str]:
    columns = [name.strip() for name in next(_iter_checked(reader, path), [])]
    if not all(columns) or len(set(columns)) != len(columns):
        raise DatasetInvalid(
            f"{path.name}, line 1 must give every column a name of its own.",
            "Put a first line with the names of the columns into the file.",
        )
    return columns


def _iter_checked(reader: Iterator[list[str]], path: Path) -> Iterator[list[str]]:
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            line = getattr(reader, "line_num", 1)
            raise DatasetInvalid(
                f"{path.name}, near line {line} is not a valid table: {error}.",
                "Look for a quotation mark that is never closed.",
            ) from error
        if values is None:
            return
        yield values


def _ragged(values: list[str], columns: list[str], path: Path, line: int) -> DatasetInvalid:
    return DatasetInvalid(
        f"{path.name}, line {line} has {len(values)} values, but there are {len(columns)} "
        f"columns ({', '.join(columns[:8])}).",
        "Put values that contain the delimiter into quotation marks.",
    )
