"""Checksums that tell a file apart from one in which a disk or a copy changed some bytes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from studio.core.errors import AdapterUnusable
from studio.core.files import get_file_error

_NOTES = "__metadata__"
_NAME = "content_crc32"
_BLOCK_BYTES = 4 << 20
_ALIGNMENT_BYTES = 8


def compute_file_checksum(path: Path) -> str:
    """Return the checksum (CRC-32, eight hexadecimal digits) of all bytes of a file.

    Raises:
        FileUnusable: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return f"{_add_rest(stream, 0):08x}"
    except OSError as error:
        raise get_file_error(path, error, "read") from error


def compute_json_checksum(values: Mapping[str, Any]) -> str:
    """Return the checksum of plain values, whatever the order of their keys."""
    return f"{_add_json(values):08x}"


def add_checksum(content: bytes) -> bytes:
    """Return the bytes of a safetensors file with a checksum of all the rest in its notes.

    Other tools skip the note. The numbers lie in the file as they did; the notes come in the order
    of their names, which safetensors leaves to chance.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    table = json.loads(content[8:start])
    found = zlib.crc32(memoryview(content)[start:], _add_json(table))
    table[_NOTES] = dict(sorted({**table.get(_NOTES, {}), _NAME: f"{found:08x}"}.items()))
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT_BYTES)
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[start:]))


def check_adapter_checksum(path: Path) -> None:
    """Return quietly unless the weights in an adapter's file are others than were written.

    Files of other tools have no checksum. The table of contents must have been checked before.

    Raises:
        AdapterUnusable: Some bytes have changed.
        FileUnusable: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            table = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
            expected = table.get(_NOTES, {}).pop(_NAME, None)
            if expected is None or f"{_add_rest(stream, _add_json(table)):08x}" == expected:
                return
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    raise AdapterUnusable(
        f"{path} is damaged: it no longer holds the numbers that were saved in it.",
        "Copy it again from where it came from, or choose an earlier checkpoint. If this happens "
        "again, check the drive.",
        code="adapter_damaged",
    )


def _add_json(values: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())


def _add_rest(stream: BinaryIO, total: int) -> int:
    while block := stream.read(_BLOCK_BYTES):
        total = zlib.crc32(block, total)
    return total
