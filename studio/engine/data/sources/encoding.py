"""Opening text files: missing files, byte order marks, wrong encodings and binary content."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from studio.core.errors import DatasetInvalid, FileUnusable
from studio.core.line_decoder import LineDecoder
from studio.engine.data.sources.packed import open_packed
from studio.engine.data.sources.row import MAX_ROW_BYTES, NO_ROWS, Reading

_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_BINARY_STARTS = (
    (b"\x1f\x8b", "a gzip archive", "Give it the ending of its kind, for example .jsonl.gz."),
    (b"PK\x03\x04", "a zip archive or an Office document", "Unpack it, or name it .zip."),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "Give it the ending of its kind, such as .jsonl.zst."),
    (b"PAR1", "a Parquet file", "Give it the ending .parquet."),
    (b"%PDF", "a PDF document", "Save its text as a .txt file."),
    (b"\x89PNG", "a picture", "Choose a file with text."),
)


def open_text(path: Path) -> BinaryIO:
    """Return the file opened for reading bytes, placed behind a UTF-8 byte order mark.

    Compressed files and members of archives are unpacked while they are read.

    Raises:
        FileUnusable: The file is missing, a folder, or may not be read.
        DatasetInvalid: It is empty, in another encoding, or not a text file at all.
    """
    stream = _open(path)
    try:
        _check_start(path, stream)
    except BaseException:
        stream.close()
        raise
    return stream


def check_file(path: Path) -> None:
    """Refuse a path that is no file.

    Raises:
        FileUnusable: There is nothing at this path, or it is a folder.
    """
    if not path.exists():
        raise FileUnusable(
            f"The data file {path} does not exist.",
            "Check the path; relative paths start at the folder of the recipe.",
        )
    if path.is_dir():
        raise FileUnusable(f"{path} is a folder, not a data file.", "Choose a file in it.")


def unreadable(path: Path, error: OSError) -> FileUnusable:
    """Return the error that says why the system does not let us read a file."""
    return FileUnusable(
        f"The data file {path} cannot be read: {error.strerror or error}.",
        "Check that you may read it and that no other program holds it.",
    )


def iter_raw_lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Yield the lines with their ends; None for a line that is too long to be a row."""
    while raw := stream.readline(MAX_ROW_BYTES + 1):
        if len(raw) <= MAX_ROW_BYTES:
            yield raw
            continue
        while raw and not raw.endswith(b"\n"):
            raw = stream.readline(MAX_ROW_BYTES)
        yield None


def decode(
    raw: bytes, path: Path, line: int, decoding: Callable[[bytes], str] = bytes.decode
) -> str:
    """Return the text of one line, UTF-8 unless the file's ``decoding`` knows better.

    Raises:
        DatasetInvalid: The bytes are not UTF-8, or hold zero bytes as binary files do.
    """
    try:
        text = decoding(raw)
    except UnicodeDecodeError as error:
        raise DatasetInvalid(
            f"{path.name}, line {line}: byte {error.start + 1} is not UTF-8 text.",
            "Save the file as UTF-8 (most editors offer it under Save as).",
        ) from error
    if "\0" in text:
        raise DatasetInvalid(
            f"{path.name}, line {line} holds zero bytes, so this is not a text file or it is "
            "damaged.",
            "Export the data again as UTF-8 text.",
        )
    return text


def build_decoder(path: Path, reading: Reading) -> LineDecoder:
    """Return what decodes a file of lines that need not be UTF-8, and tells it where they are not.

    Tables and texts are saved otherwise by many programs; JSON is UTF-8 by its definition.
    """
    note = f"{path.name} is not UTF-8 and is read as Windows-1252, as Excel saves tables."
    return LineDecoder(lambda: reading.on_note(note))


def _open(path: Path) -> BinaryIO:
    packed = None
    try:
        if not path.exists():
            packed = open_packed(path)  # inside an archive
        if packed is None:
            check_file(path)
            packed = open_packed(path)
        return cast("BinaryIO", path.open("rb")) if packed is None else packed
    except OSError as error:
        raise unreadable(path, error) from error


def _check_start(path: Path, stream: BinaryIO) -> None:
    # Peeking instead of seeking: what is being unpacked cannot go back.
    start = cast("io.BufferedReader", stream).peek(4)[:4]
    if not start:
        raise DatasetInvalid(
            f"The data file {path} is empty.", "Choose a file with examples.", code=NO_ROWS
        )
    for mark, name in _OTHER_MARKS:
        if start.startswith(mark):
            raise DatasetInvalid(
                f"{path.name} is encoded as {name}; only UTF-8 is read.",
                "Save the file as UTF-8 (most editors offer it under Save as).",
            )
    for mark, name, remedy in _BINARY_STARTS:
        if start.startswith(mark):
            raise DatasetInvalid(f"{path.name} is {name}, not a text file.", remedy)
    if start.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
