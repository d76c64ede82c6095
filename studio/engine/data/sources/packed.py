"""Compressed files and archives, unpacked while they are read and never onto the disk."""

from __future__ import annotations

import gzip
import importlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from studio.core.errors import DatasetInvalid, FileUnusable

PACKED_SUFFIXES = (".gz", ".zst")
MAX_UNPACKED_BYTES = 256 << 30
"""Most bytes that one file may become."""
MAX_RATIO = 400
"""Most bytes per packed byte; text reaches 30, files made to fill a computer 1,000 and more."""
FREE_BYTES = 64 << 20
"""Unpacked bytes below which the ratio is not looked at: small files of equal rows are honest."""
_FAULTS: tuple[type[BaseException], ...] = (
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


def inner_name(path: Path) -> str:
    """Return the name of what is inside: ``rows.jsonl`` for ``rows.jsonl.gz``."""
    return path.stem if path.suffix.lower() in PACKED_SUFFIXES else path.name


def find_archive(path: Path) -> Path | None:
    """Return the zip archive that ``path`` points into, or None for an ordinary path."""
    for parent in path.parents:
        if parent.suffix.lower() == ".zip" and parent.is_file():
            return parent
    return None


def open_packed(path: Path) -> BinaryIO | None:
    """Return the unpacked bytes of a compressed file or an archive's member as a stream.

    None where ``path`` is an ordinary file.

    Raises:
        FileUnusable: A .zst file is given and the package pyarrow is missing.
        DatasetInvalid: The archive is damaged; later on also while reading.
    """
    archive = find_archive(path)
    if archive is not None:
        return _open_member(archive, path.relative_to(archive).as_posix())
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return _cap(path, lambda: gzip.open(path, "rb"))
    return _cap(path, lambda: _open_zstd(path)) if suffix == ".zst" else None


def list_members(archive: Path) -> list[Path]:
    """Return the files in a zip archive as paths below the archive, in order of their names.

    Raises:
        DatasetInvalid: It is no archive, damaged, or protected by a password.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [one for one in opened.infolist() if not one.is_dir()]
    except _FAULTS as error:
        raise _damaged(archive, error) from error
    if any(one.flag_bits & 1 for one in entries):
        raise DatasetInvalid(
            f"{archive.name} is protected by a password.", "Unpack it and choose the files."
        )
    names = sorted(one.filename.replace("\\", "/") for one in entries)
    shown = [name for name in names if not _is_hidden(name)]
    return [archive.joinpath(*name.split("/")) for name in shown]


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) or not part for part in name.split("/"))


def _open_member(archive: Path, name: str) -> BinaryIO:
    opened = zipfile.ZipFile(archive)

    def build() -> Any:
        return opened.open(name)

    try:
        packed = max(1, opened.getinfo(name).compress_size)
        return _cap(archive / name, build, packed, opened.close)
    except BaseException:
        opened.close()
        raise


def _open_zstd(path: Path) -> Any:
    try:
        arrow = importlib.import_module("pyarrow")
    except ImportError as error:
        raise FileUnusable(
            f"{path.name} is packed with zstd, and pyarrow, which reads it, is not installed.",
            "Install it with: pip install pyarrow. Or unpack the file.",
        ) from error
    # Unlike the package zstandard it notices that the end of a file is missing.
    return arrow.CompressedInputStream(arrow.OSFile(str(path)), "zstd")


def _cap(
    path: Path,
    build: Callable[[], Any],
    packed_bytes: int | None = None,
    close: Callable[[], None] | None = None,
) -> BinaryIO:
    try:
        size = path.stat().st_size if packed_bytes is None else packed_bytes
        stream = _Capped(path, build(), max(1, size), close)
    except _FAULTS as error:
        raise _damaged(path, error) from error
    return io.BufferedReader(stream, 1 << 18)


class _Capped(io.RawIOBase):
    """A stream that refuses to grow beyond what honest data grows to."""

    def __init__(
        self, path: Path, inner: Any, packed_bytes: int, close: Callable[[], None] | None
    ) -> None:
        super().__init__()
        self._path = path
        self._inner = inner
        self._limit = min(MAX_UNPACKED_BYTES, max(FREE_BYTES, packed_bytes * MAX_RATIO))
        self._close = close
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        try:
            block: bytes = self._inner.read(len(view))
        except _FAULTS as error:
            raise _damaged(self._path, error) from error
        self._count += len(block)
        if self._count > self._limit:
            raise DatasetInvalid(
                f"{self._path.name} unpacks to more than {self._limit >> 20:,} MB, far more than "
                "data of its size does. It may be made to fill the computer.",
                "If you trust the file, unpack it yourself and choose what was in it.",
                code="archive_too_large",
            )
        view[: len(block)] = block
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
            if self._close is not None:
                self._close()
        super().close()


def _damaged(path: Path, error: BaseException) -> DatasetInvalid:
    return DatasetInvalid(
        f"{path.name} cannot be unpacked: {str(error) or type(error).__name__}.",
        "The file is damaged or incomplete: copy or download it again.",
    )
