"""Tokenised rows kept on disk, found again by what they were made from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

import studio
from studio.core.errors import FileUnusable
from studio.core.files import get_file_error, move
from studio.core.recipe.schema_data import DataSettings, DataSource
from studio.engine.data.table import TOLD_EVERY, RowTable

MOST_BYTES = 20 << 30
"""Rows used longest ago are deleted beyond this."""
_LEFT_OVER_SECONDS = 24 * 3600
_PART, _UNFINISHED = ".part-", ".unfinished-"
_PACKAGES = ("tokenizers", "transformers", "jinja2", "tiktoken")
_OF_SETTINGS = ("template", "supervise", "supervise_roles", "supervise_turns", "think")
_OF_SOURCE = ("format", "columns", "split", "limit", "documents", "skip_broken", "fill")


class RowCache:
    """One folder per source and way of reading it; the name is a hash of all that matters."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> Generator[int, None, RowTable | None]:
        """Return the rows kept under this key; None if there are none.

        Meanwhile yields 0, for those who want to stop or to do something else.
        """
        folder = self._folder / key
        if not folder.is_dir():
            return None
        table = yield from RowTable.load(folder)
        if table is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            with suppress(OSError):  # a read-only cache still serves
                os.utime(folder)
        return table

    def start(self) -> Path:
        """Return a new folder to write rows into.

        Raises:
            FileUnusable: The program's folder is not writable.
        """
        folder = self._folder / f"{_PART}{os.getpid()}-{uuid4().hex[:8]}"
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise get_file_error(folder, error) from error
        self._sweep()
        return folder

    def keep(self, folder: Path, key: str) -> Path:
        """Move a complete folder to its key, unless another process was faster; return where it is.

        Its files must not be open yet: Windows moves no folder with a file in use.
        """
        target = self._folder / key
        try:
            return move(folder, target)
        except OSError:
            if not target.is_dir():
                return folder  # it serves this run and is swept later
            shutil.rmtree(folder, ignore_errors=True)
            return target

    def drop(self, key: str) -> None:
        """Delete the rows kept under this key."""
        shutil.rmtree(self._folder / key, ignore_errors=True)

    def put_aside(self, folder: Path, key: str) -> None:
        """Keep a folder that is not complete, so that ``take_up`` finds it under its key."""
        target = self._folder / f"{_UNFINISHED}{key}"
        shutil.rmtree(target, ignore_errors=True)
        try:
            move(folder, target)
        except OSError:  # the rows are made again then
            shutil.rmtree(folder, ignore_errors=True)

    def take_up(self, key: str) -> Path | None:
        """Return what was put aside under a key, as a folder of this process; None without any."""
        folder = self._folder / f"{_PART}{os.getpid()}-{uuid4().hex[:8]}"
        try:
            return move(self._folder / f"{_UNFINISHED}{key}", folder)
        except OSError:
            return None

    def _sweep(self) -> None:
        """Delete what was left over by killed processes, and the oldest rows beyond the limit."""
        now = time.time()
        kept: list[tuple[float, int, Path]] = []
        for one in self._folder.iterdir():
            with suppress(OSError):
                used = one.stat().st_mtime
                if one.name.startswith(_PART):
                    if now - used > _LEFT_OVER_SECONDS:
                        shutil.rmtree(one, ignore_errors=True)
                    continue
                size = sum(file.stat().st_size for file in one.iterdir())
                kept.append((used, size, one))
        total = 0
        for _, size, one in sorted(kept, reverse=True):
            total += size
            if total > MOST_BYTES:
                shutil.rmtree(one, ignore_errors=True)


def hash_files(files: Sequence[Path]) -> Generator[int, None, list[str]]:
    """Return a hash of the content of each file, and meanwhile yield 0 every 16 MB.

    Raises:
        FileUnusable: A file cannot be read.
    """
    found = []
    for path in files:
        total = hashlib.blake2b(digest_size=20)
        try:
            with path.open("rb") as stream:
                for count, block in enumerate(iter(partial(stream.read, 1 << 20), b""), start=1):
                    total.update(block)
                    if count % TOLD_EVERY == 0:
                        yield 0
        except OSError as error:
            raise get_file_error(path, error, "read") from error
        found.append(total.hexdigest())
    return found


def hash_tokenizer(tokenizer: Any) -> str:
    """Return a hash of everything by which a tokenizer turns conversations into numbers."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    parts = [backend.to_str(), tokenizer.special_tokens_map, tokenizer.chat_template]
    return _hash(parts)


def source_key(
    source: DataSource,
    settings: DataSettings,
    file_hashes: Mapping[str, str],
    tokenizer_hash: str,
    template: str,
    stops: Sequence[int],
) -> str:
    """Return the key of a source's rows: equal only if the rows would be made alike."""
    return _hash(
        [
            studio.__version__,
            _hash_code(),
            {name: _find_version(name) for name in _PACKAGES},
            {name: getattr(source, name) for name in _OF_SOURCE},
            {name: getattr(settings, name) for name in _OF_SETTINGS if hasattr(settings, name)},
            dict(file_hashes),
            tokenizer_hash,
            template,
            sorted(stops),
        ]
    )[:32]


def check_unchanged(files: Sequence[Path], before: Sequence[os.stat_result]) -> None:
    """Refuse data that was written to while it was read.

    Raises:
        FileUnusable: A file is no longer as it was.
    """
    for path, old in zip(files, before, strict=True):
        now = path.stat()
        if (now.st_size, now.st_mtime_ns) != (old.st_size, old.st_mtime_ns):
            raise FileUnusable(
                f"{path} was changed while it was read.",
                "Wait until the program that writes it is done, and start again.",
            )


def _hash_code() -> str:
    """Return a hash of this package's own source, so that a correction is never missed."""
    total = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


def _find_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
