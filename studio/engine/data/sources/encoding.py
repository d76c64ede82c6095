"""Opening text files: missing files, byte order marks, wrong encodings and binary content."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import BinaryIO

from studio.core.errors import DatasetInvalid, FileUnusable

_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_BINARY_STARTS = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a zip archive or an Office document"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"PAR1", "a Parquet file"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
)


def open_text(path: Path) -> BinaryIO:
    """Return the file opened for reading bytes, placed behind a UTF-8 byte order mark.

    Raises:
        FileUnusable: The file is missing, a folder, or may not be read.
        DatasetInvalid: It is empty, in another encoding, or not a text file at all.
    """
    if not path.exists():
        raise FileUnusable(
            f"The data file {path} does not exist.",
            "Check the path; relative paths start at the folder of the recipe.",
        )
    if path.is_dir():
        raise FileUnusable(f"{path} is a folder, not a data file.", "Choose a file in it.")
    try:
        stream = path.open("rb")
    except OSError as error:
        raise FileUnusable(
            f"The data file {path} cannot be read: {error.strerror}.",
            "Check that you may read it and that no other program holds it.",
        ) from error
    try:
        _check_start(path, stream)
    except BaseException:
        stream.close()
        raise
    return stream


def decode(raw: bytes, path: Path, line: int) -> str:
    """Return the text of one line.

    Raises:
        DatasetInvalid: The bytes are not UTF-8, or hold zero bytes as binary files do.
    """
    try:
        text = raw.decode("utf-8")
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


def _check_start(path: Path, stream: BinaryIO) -> None:
    start = stream.read(4)
    if not start:
        raise DatasetInvalid(f"The data file {path} is empty.", "Choose a file with examples.")
    for mark, name in _OTHER_MARKS:
        if start.startswith(mark):
            raise DatasetInvalid(
                f"{path.name} is encoded as {name}; only UTF-8 is read.",
                "Save the file as UTF-8 (most editors offer it under Save as).",
            )
    for mark, name in _BINARY_STARTS:
        if start.startswith(mark):
            raise DatasetInvalid(
                f"{path.name} is {name}, not a text file.", "Unpack or export it as JSONL first."
            )
    stream.seek(len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0)
