"""Reading a file of chats once without tokenising it: which rows there are and what they say."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studio.core.recipe.schema_data import DataSource
from studio.engine.data.chunks import mark_rows, read_column
from studio.engine.data.conversation import Conversation
from studio.engine.data.digest import digest_row
from studio.engine.data.example import Flags
from studio.engine.data.file_rows import Rows
from studio.engine.data.read import SkippedRows, open_source
from studio.engine.data.rows import RowEncoder
from studio.engine.data.spool import RowSpool
from studio.engine.data.table import RowTable

CHAT_FORMATS = frozenset({"messages", "sharegpt", "alpaca", "prompt"})
"""Formats of which every row is one example; running text is divided, token rows are too."""

_TOLD_EVERY = 2048
_LACKING = ("no_supervised_tokens", "empty_answer")


@dataclass(frozen=True)
class RowFacts:
    """What is known of the rows of a source before any of them is tokenised.

    The ``key`` of rows (16 bytes) is equal where they say the same; ``number`` counts the rows of
    each file from 1, ``line`` is 0 where files have none. ``has_answer`` tells the rows that hold
    something to learn; shape ``(rows,)``.
    """

    rows: Rows
    has_answer: Flags

    @property
    def keys(self) -> Rows:
        """The keys of all rows; shape ``(rows,)``."""
        return self.rows["key"]

    @classmethod
    def of_spool(cls, spool: RowSpool) -> RowFacts:
        """Return the facts about rows that were put by, all of them; they stay on disk."""
        facts = spool.finish()
        return cls(facts, read_column(facts, "has_answer"))

    @classmethod
    def of_table(cls, table: RowTable) -> RowFacts:
        """Return the same facts from rows that are tokenised already."""
        bits = np.uint64(sum(1 << table.about.codes.index(code) for code in _LACKING))
        lacks = mark_rows(
            table.rows, lambda rows: (rows["length"] == 0) & (rows["problems"] & bits != 0)
        )
        return cls(table.rows, ~lacks)


@dataclass(frozen=True)
class ScannedRows:
    """The rows of a source after they were read once; ``skipped`` are those that are broken."""

    facts: RowFacts
    spool: RowSpool
    format: str
    columns: dict[str, str]
    skipped: SkippedRows


def scan(
    source: DataSource, base_folder: Path, encoder: RowEncoder, folder: Path
) -> Generator[int, None, ScannedRows | None]:
    """Return the rows of a source, put by in ``folder``; None if they are not chats.

    Meanwhile yields the number of rows read.

    Raises:
        FileUnusable: A file is missing or may not be read.
        DatasetInvalid: A row is broken and must not be skipped, or the format is unknown.
    """
    opened = open_source(source, base_folder)
    if opened.layout.format.key not in CHAT_FORMATS:
        return None
    spool = RowSpool(folder, opened.layout)
    is_done = False
    try:
        for row, record in opened.iter_records():
            if not isinstance(record, Conversation):
                return None
            has_answer = encoder.has_answer(record)
            spool.add(row, digest_row(record).key, has_answer=has_answer)
            if len(spool) % _TOLD_EVERY == 0:
                yield len(spool)
        facts = RowFacts.of_spool(spool)
        is_done = True
    finally:
        if not is_done:
            spool.close()
    return ScannedRows(
        facts,
        spool,
        opened.layout.format.key,
        dict(opened.layout.columns),
        opened.skipped,
    )
