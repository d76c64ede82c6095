"""One source of a recipe as a table of tokenised rows: from the cache, or made now."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Generator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from studio.core.errors import FileUnusable
from studio.core.recipe.schema_data import DataSettings, DataSource
from studio.engine.data.cache import (
    RowCache,
    check_unchanged,
    hash_files,
    hash_tokenizer,
    source_key,
)
from studio.engine.data.read import open_source, source_path
from studio.engine.data.rows import RowEncoder
from studio.engine.data.sources.packed import find_archive
from studio.engine.data.sources.registry import find_files
from studio.engine.data.table import RowTable, TableWriter

FEWEST_KEPT = 8192
"""Fewer rows are not worth being kept where the preparation ends before all are there."""
_TOLD_EVERY = 2048


class SourceReader:
    """Turns the sources of one recipe into tables."""

    def __init__(
        self,
        settings: DataSettings,
        tokenizer: Any,
        base_folder: Path,
        stop_ids: Collection[int],
        cache_folder: Path | None,
    ) -> None:
        """Prepare for one recipe; without ``cache_folder`` the tables are held in memory."""
        self.encoder = RowEncoder(settings, tokenizer, base_folder, stop_ids)
        self._settings = settings
        self._base_folder = base_folder
        self._stop_ids = sorted(stop_ids)
        self._cache = None if cache_folder is None else RowCache(cache_folder)
        self._kept: list[str] = []
        self._tokenizer_hash = "" if cache_folder is None else hash_tokenizer(tokenizer)

    def read(self, source: DataSource) -> Generator[int, None, RowTable]:
        """Return the rows of a source, and meanwhile yield how many are read.

        Raises:
            FileUnusable: A file is missing, may not be read, or is written to meanwhile.
            DatasetInvalid: A row is broken or the format is unknown.
        """
        if self._cache is None:
            return (yield from self._encode(source, None)).build()
        files = self.find_real_files(source)
        before = [path.stat() for path in files]
        key = yield from self._find_key(source, files)
        known = yield from self._cache.find(key)
        if known is not None:
            yield len(known)
            return known
        # What an earlier reader left may be made by a way that is not trusted any more.
        left = None if self.encoder.disproved else self._cache.take_up(key)
        folder = left or self._cache.start()
        is_kept = False
        try:
            writer = yield from self._encode(source, folder)
            check_unchanged(files, before)
            kept = self._cache.keep(folder, key)
            self._kept.append(key)
            is_kept = True
            return (yield from _repeat(writer.rows, RowTable.load_written(kept)))
        except GeneratorExit:
            # Nobody wants the rows now. Those that are there are completed the next time.
            if TableWriter.is_suspended(folder):
                with suppress(FileUnusable, OSError):
                    check_unchanged(files, before)
                    self._cache.put_aside(folder, key)
                    is_kept = True
            raise
        finally:
            if not is_kept:
                shutil.rmtree(folder, ignore_errors=True)

    def find(self, source: DataSource) -> Generator[int, None, RowTable | None]:
        """Return the rows of a source if they were prepared before; meanwhile yield 0.

        Raises:
            FileUnusable: A file is missing or may not be read.
        """
        if self._cache is None:
            return None
        key = yield from self._find_key(source, self.find_real_files(source))
        return (yield from self._cache.find(key))

    def find_real_files(self, source: DataSource) -> list[Path]:
        """Return the files on disk that a source consists of; an archive is one file."""
        found = find_files(source_path(source, self._base_folder), source.split)
        return list(dict.fromkeys(find_archive(one) or one for one in found))

    def _find_key(self, source: DataSource, files: list[Path]) -> Generator[int, None, str]:
        hashes = yield from hash_files(files)
        return source_key(
            source,
            self._settings,
            dict(zip(_names(files), hashes, strict=True)),
            self._tokenizer_hash,
            self.encoder.template.source,
            self._stop_ids,
        )

    def _encode(self, source: DataSource, folder: Path | None) -> Generator[int, None, TableWriter]:
        """Return the rows, written; all again the long way if a short one was disproved."""
        while True:
            before = self.encoder.disproved
            writer = yield from self._encode_once(source, folder)
            if self.encoder.disproved == before:
                return writer
            self._forget()

    def _forget(self) -> None:
        """Drop what this reader kept before one of its ways was disproved."""
        while self._kept and self._cache is not None:
            self._cache.drop(self._kept.pop())

    def _encode_once(
        self, source: DataSource, folder: Path | None
    ) -> Generator[int, None, TableWriter]:
        writer = TableWriter(None)
        if folder is not None:
            writer = yield from TableWriter.resume(folder)
        try:
            opened = open_source(source, self._base_folder)
            records = opened.iter_records()
            for count, (row, _) in enumerate(islice(records, writer.rows), start=1):
                writer.note_part(row.path)
                if count % _TOLD_EVERY == 0:
                    yield count
            for batch in self.encoder.iter_encoded(records):
                writer.add(batch)
                yield writer.rows
            writer.about.format = opened.layout.format.key
            writer.about.columns = dict(opened.layout.columns)
            writer.about.template = self.encoder.template.name
            writer.about.skipped = opened.skipped.count
            writer.about.faults = list(opened.skipped.faults)
            writer.finish()
            return writer
        except GeneratorExit:
            if writer.rows >= FEWEST_KEPT and not self.encoder.disproved:
                writer.suspend()
            raise
        finally:
            writer.close()


def _repeat(rows: int, steps: Generator[int, None, RowTable]) -> Generator[int, None, RowTable]:
    """Return what a generator returns, and yield ``rows`` for each of its steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            table: RowTable = end.value
            return table
        yield rows


def _names(files: list[Path]) -> list[str]:
    """Return the names that matter: where the files lie does not, their order and kind do."""
    return [f"{index} {path.name}" for index, path in enumerate(files)]
