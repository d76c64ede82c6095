"""The rows of several sources as one list: found by place, sorted, chosen by what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.core.jobs.orders import RowList
from studio.engine.data.example import Flags
from studio.engine.data.table import RowTable

Places = NDArray[np.int64]


@dataclass(frozen=True)
class SourceTable:
    """The rows of one source and its number in the recipe."""

    position: int
    table: RowTable


class RowLists:
    """Lists of rows; a row is meant by its place among the rows of all ``sources``.

    ``findings`` has per code the rows concerned, ``cut`` how many tokens of each row are cut;
    shapes ``(rows,)``.
    """

    def __init__(self, sources: Sequence[SourceTable]) -> None:
        """Prepare for sources in the order of the recipe."""
        self.sources = sources
        self.tables = [one.table for one in sources]
        self.starts = np.cumsum([0, *(len(table) for table in self.tables)])
        self.findings: dict[str, Flags] = {}
        self.cut = np.zeros(len(self))
        self._lists: dict[tuple[str, str], Places] = {}

    def __len__(self) -> int:
        return int(self.starts[-1])

    def locate(self, place: int) -> tuple[int, int]:
        """Return the number of the table and the row in it for a place."""
        table = int(np.searchsorted(self.starts, place, side="right")) - 1
        return table, place - int(self.starts[table])

    def find_place(self, position: int, row: int) -> int | None:
        """Return the place of row ``row`` (from 1) of a source, or of the next one after it."""
        for number, one in enumerate(self.sources):
            if one.position == position:
                rows = np.flatnonzero(one.table.column("number") >= row)
                index = int(rows[0]) if len(rows) else len(one.table) - 1
                return int(self.starts[number]) + index if len(one.table) else None
        return None

    def find_index(self, position: int, index: int) -> int | None:
        """Return the place of the row at ``index`` (from 0) of a source, None if there is none."""
        for number, one in enumerate(self.sources):
            if one.position == position and 0 <= index < len(one.table):
                return int(self.starts[number]) + index
        return None

    def list_rows(self, finding: str, by: RowList, among: Flags | None = None) -> Places:
        """Return the places of rows with a finding (empty: all), in the wanted order.

        Only rows that ``among`` marks are listed, if it is given.
        """
        key = (finding, by)
        if key not in self._lists:
            flags = self.findings.get(finding) if finding else None
            if finding and flags is None:
                places = np.zeros(0, dtype=np.int64)
            else:
                places = np.arange(len(self)) if flags is None else np.flatnonzero(flags)
            keys = self._order(by)
            order = (
                np.arange(len(places)) if keys is None else np.argsort(keys[places], kind="stable")
            )
            self._lists[key] = places[order]
        places = self._lists[key]
        return places if among is None else places[among[places]]

    def codes_of(self, place: int) -> tuple[str, ...]:
        """Return the findings of one row."""
        return tuple(code for code, flags in self.findings.items() if flags[place])

    def count(self, among: Flags | None = None) -> dict[str, int]:
        """Return how many rows each finding has, of those that ``among`` marks."""
        counts = {
            code: int((flags if among is None else flags & among).sum())
            for code, flags in self.findings.items()
        }
        return {code: count for code, count in counts.items() if count}

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one column of all tables; shape ``(rows,)``."""
        columns = [table.column(name) for table in self.tables]
        return np.concatenate([np.zeros(0), *columns])

    def usable(self) -> Flags:
        """Return which rows are tokenised and not left out for a problem."""
        return join_flags([table.usable() for table in self.tables])

    def note(self, code: str, flags: Flags) -> None:
        """Add rows to a finding; without any row there is no such finding."""
        if flags.any():
            known = self.findings.get(code)
            self.findings[code] = flags if known is None else known | flags

    def note_problems(self, hidden: Flags) -> None:
        """Add what was noted while the rows were tokenised, but for rows that are hidden."""
        columns = [table.column("problems") for table in self.tables]
        every = [np.bitwise_or.reduce(column) for column in columns]
        for index, code in enumerate(self.tables[0].about.codes if self.tables else ()):
            bit = np.uint64(1 << index)
            if not any(int(one) >> index & 1 for one in every):
                continue
            flags = join_flags([column & bit != 0 for column in columns])
            self.note(code, flags & ~hidden)

    def _order(self, by: RowList) -> NDArray[np.float64] | None:
        """Return numbers of which the smallest come first; None keeps the order of the files."""
        if by == "file":
            return None
        length = self.column("length").astype(np.float64)
        if by == "longest":
            return -length
        if by == "most_cut":
            return -self.cut
        if by == "least_learnt":
            return self.column("learnt") / np.maximum(length, 1)
        return -length / np.maximum(self.column("characters"), 1)


def join_flags(flags: Sequence[Flags]) -> Flags:
    """Return the flags of several tables as one; shape ``(rows,)``."""
    return np.concatenate([np.zeros(0, np.bool_), *flags])
