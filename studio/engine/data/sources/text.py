"""Plain text and Markdown: documents to go on learning from, without questions and answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import DatasetInvalid
from studio.core.line_decoder import LineDecoder
from studio.engine.data.sources.encoding import build_decoder, decode, iter_raw_lines, open_text
from studio.engine.data.sources.row import MAX_ROW_BYTES, NO_ROWS, Documents, Reading, Row

suffixes = (".txt", ".text", ".md", ".markdown")

BOUNDARY = "<|endoftext|>"
"""Between two documents in many published collections; on a line of its own or inside one."""
PIECE_CHARACTERS = 1 << 20
"""A longer document is handed on in parts, so that a file of any size can be read."""
ENDS = "ends_document"
"""The column that says whether the document ends with this row."""


def iter_rows(path: Path, reading: Reading) -> Iterator[Row]:
    """Yield the documents with the columns ``text`` and ``ends_document``.

    A document of more than a million characters comes in parts that end at the end of a line.
    ``<|endoftext|>`` always separates documents.

    Raises:
        FileUnusable: The file is missing or may not be read.
        DatasetInvalid: It is empty or not text.
    """
    number = 0
    with open_text(path) as stream:
        decoder = build_decoder(path, reading)
        lines = (
            _decode_line(raw, path, line, decoder)
            for line, raw in enumerate(iter_raw_lines(stream), start=1)
        )
        for text, line, ends in _iter_pieces(lines, reading.documents):
            number += 1
            yield Row({"text": text, ENDS: ends}, path, number, line)
    if number == 0:
        raise DatasetInvalid(
            f"The text file {path} holds only blanks.", "Choose a file with text.", code=NO_ROWS
        )


def _decode_line(raw: bytes | None, path: Path, line: int, decoder: LineDecoder) -> str:
    if raw is None:
        raise DatasetInvalid(
            f"{path.name}, line {line} is longer than {MAX_ROW_BYTES >> 20} MB.",
            "Put line breaks into the text.",
        )
    return decode(raw, path, line, decoder.decode).replace("\r\n", "\n")


def _iter_pieces(lines: Iterator[str], documents: Documents) -> Iterator[tuple[str, int, bool]]:
    """Yield text, the line it starts at and whether the document ends with it."""
    held: list[str] = []
    size, start = 0, 1
    has_part = False  # an earlier part of the same document was handed on
    for line, text in enumerate(lines, start=1):
        is_line = documents == "line"
        is_break = is_line or (documents == "blank_line" and not text.strip())
        parts = text.split(BOUNDARY) if BOUNDARY in text else [text]
        for index, part in enumerate(parts):
            if not held:
                start = line
            held.append(part.rstrip("\n") if is_line else part)
            size += len(part)
            if index < len(parts) - 1 or is_break:
                yield from _close(held, start, has_part)
                held, size, has_part = [], 0, False
        if size >= PIECE_CHARACTERS:
            yield "".join(held), start, False
            held, size, has_part = [], 0, True
    yield from _close(held, start, has_part)


def _close(held: list[str], start: int, has_part: bool) -> Iterator[tuple[str, int, bool]]:
    text = "".join(held)
    if text.strip():
        yield (text if has_part else text.strip("\n")), start, True
    elif has_part:
        yield "\n", start, True  # the end of a document whose text is already out
