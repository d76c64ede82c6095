"""Examples that are cut from tables of tokenised rows only when they are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.chunks import (
    CHUNK_ROWS,
    iter_chunks,
    join_arrays,
    list_places,
    mark_rows,
    read_column,
    repeat_numbers,
)
from studio.engine.data.example import ORIGIN, Example, ExampleStore, Flags, fill_origins
from studio.engine.data.marked import MarkedRows
from studio.engine.data.problems import ProblemLog
from studio.engine.data.table import RowTable, problem_places
from studio.engine.data.truncate import Piece, divide_text, fit_conversation

_CUT = np.dtype(
    [
        ("row", "<i8"),
        ("start", "<i4"),
        ("end", "<i4"),
        ("cut_start", "<i4"),
        ("cut_end", "<i4"),
        ("context", "<i4"),
        ("learnt", "<i4"),
    ]
)
"""An example that is not simply its whole row."""

_MOST_PIECES = 65_535


@dataclass(frozen=True)
class TableRows:
    """Some rows of one source: its table, its position among the sources and which rows."""

    table: RowTable
    source: int
    chosen: Flags


class TableExamples(ExampleStore):
    """Examples of at most ``max_tokens`` tokens; the tokens themselves stay in the tables."""

    def __init__(
        self,
        sides: Sequence[TableRows],
        sources: Sequence[str],
        max_tokens: int,
        overlap_tokens: int,
        log: ProblemLog,
    ) -> None:
        """Cut the chosen rows; what was cut or did not fit is written to ``log``."""
        self.sources = tuple(sources)
        self._tables = {side.source: side.table for side in sides}
        parts = []
        for side in sides:
            _log_problems(side, log)
            parts.append(_cut(side, max_tokens, overlap_tokens, log))
        counts = [len(one.lengths) for one in parts]
        self._parts = parts
        self.lengths = join_arrays([one.lengths for one in parts])
        self.supervised_count = sum(one.learnt for one in parts)
        starts = self._starts = np.cumsum([0, *counts]).tolist()
        self._cut_at = join_arrays(
            [one.cut_at + at for one, at in zip(parts, starts, strict=False)]
        )
        self._cuts = join_arrays([one.cuts for one in parts], _CUT)
        positions = np.array([side.source for side in sides], dtype=np.uint16)
        self.source_positions = repeat_numbers(positions, counts)

    @property
    def row_places(self) -> NDArray[np.int64]:
        """Number of the table and row in it of each example; shape ``(examples, 2)``."""
        numbers = self._find_rows(0, len(self))
        return np.stack([self.source_positions, numbers], axis=1).astype(np.int64)

    def iter_origins(self) -> Iterator[NDArray[Any]]:
        """Yield where the examples come from, some at a time, in the order of the examples."""
        first = 0  # of the pieces of the row at hand, which stand one after the other
        for start in range(0, len(self), CHUNK_ROWS):
            behind = min(start + CHUNK_ROWS, len(self))
            origins = np.zeros(behind - start, dtype=ORIGIN)
            sources, numbers = self.source_positions[start:behind], self._find_rows(start, behind)
            origins["source"], origins["index"] = sources, numbers
            for source in np.unique(sources).tolist():
                mine = sources == source
                fill_origins(origins, mine, self._tables[source].rows.take(numbers[mine]))
            places = np.arange(start, behind)
            starts = np.where(self._starts_row(start, behind), places, first)
            firsts = np.maximum.accumulate(starts)
            origins["piece"] = np.minimum(places - firsts, _MOST_PIECES)
            first = int(firsts[-1])
            yield origins

    def _starts_row(self, start: int, behind: int) -> Flags:
        """Return which examples are of another row than the one before; shape ``(some,)``."""
        found = np.ones(behind - start, dtype=np.bool_)
        earlier = max(0, start - 1)
        changes = (np.diff(self._find_rows(earlier, behind)) != 0) | (
            np.diff(self.source_positions[earlier:behind]) != 0
        )
        found[len(found) - len(changes) :] = changes
        return found

    def _find_rows(self, start: int, behind: int) -> NDArray[np.integer[Any]]:
        """Return which row of its source each of these examples is of; shape ``(some,)``."""
        found = []
        for part, first in zip(self._parts, self._starts, strict=False):
            found.append(part.find_rows(max(0, start - first), max(0, behind - first)))
        return join_arrays(found)

    @property
    def largest_token(self) -> int:
        """The highest token number of the rows, those that are not trained among them."""
        return max((one.about.largest for one in self._tables.values()), default=-1)

    @property
    def cut_tokens(self) -> NDArray[np.int64]:
        """How many tokens of the row each example lacks; shape ``(examples,)``."""
        found = np.zeros(len(self), dtype=np.int64)
        found[self._cut_at] = self._cuts["cut_end"] - self._cuts["cut_start"]
        return found

    def _build(self, place: int) -> Example:
        table = self._tables[int(self.source_positions[place])]
        index = int(self._find_rows(place, place + 1)[0])
        piece = Piece(0, int(self.lengths[place]), (0, 0), 0)
        cut = int(np.searchsorted(self._cut_at, place))
        if cut < len(self._cut_at) and self._cut_at[cut] == place:
            row = self._cuts[cut]
            left_out = (int(row["cut_start"]), int(row["cut_end"]))
            piece = Piece(int(row["start"]), int(row["end"]), left_out, int(row["context"]))
        ids, supervised = piece.take(table.encoded(index))
        return Example(
            ids,
            supervised,
            piece.truncated_tokens,
            int(table.rows["number"][index]),
            self.sources[self.source_positions[place]],
        )


@dataclass(frozen=True)
class _Parts:
    """The examples of one source: whole rows, and between them ``cuts`` at ``cut_at``.

    ``learnt`` counts the tokens with a target.
    """

    whole: MarkedRows
    lengths: NDArray[np.integer[Any]]
    learnt: int
    cut_at: NDArray[np.int64]
    cuts: NDArray[Any]

    def find_rows(self, start: int, behind: int) -> NDArray[np.integer[Any]]:
        """Return which row each of these examples is of; shape ``(some,)``."""
        behind = min(behind, len(self.lengths))
        first, last = np.searchsorted(self.cut_at, [start, max(start, behind)]).tolist()
        at = self.cut_at[first:last] - np.arange(first, last) - (start - first)
        return _put_in(self.whole[start - first : behind - last], at, self.cuts["row"][first:last])


def _log_problems(side: TableRows, log: ProblemLog) -> None:
    for code, (count, places) in problem_places(side.table, side.chosen).items():
        log.add_counted(code, count, places, side.table.about.details.get(code, ""))


def _cut(side: TableRows, max_tokens: int, overlap_tokens: int, log: ProblemLog) -> _Parts:
    kept = side.chosen & side.table.usable()
    is_short = mark_rows(side.table.rows, lambda rows: rows["length"] <= max_tokens)
    long = list_places(kept & ~is_short).tolist()
    kept &= is_short
    whole = MarkedRows(kept)
    cuts = np.fromiter(_iter_cuts(side, long, max_tokens, overlap_tokens, log), dtype=_CUT)
    # Each piece goes before the first whole row that comes after its own.
    at = whole.find_places(cuts["row"])
    taken = cuts["end"] - cuts["start"] - (cuts["cut_end"] - cuts["cut_start"])
    lengths = read_column(side.table.rows, "length", kept, np.min_scalar_type(max_tokens))
    learnt = sum(
        int(rows["learnt"][kept[where]].sum(dtype=np.int64))
        for where, rows in iter_chunks(side.table.rows)
    )
    learnt += int(cuts["learnt"].sum(dtype=np.int64))
    return _Parts(whole, _put_in(lengths, at, taken), learnt, at + np.arange(len(at)), cuts)


def _put_in(values: NDArray[Any], at: NDArray[np.int64], pieces: NDArray[Any]) -> NDArray[Any]:
    """Return the values with pieces before these places; the values themselves where none are."""
    return np.insert(values, at, pieces) if len(at) else values


def _iter_cuts(
    side: TableRows, long: Sequence[int], max_tokens: int, overlap_tokens: int, log: ProblemLog
) -> Iterator[tuple[int, ...]]:
    for row in long:
        yield from _cut_row(side, row, max_tokens, overlap_tokens, log)


def _cut_row(
    side: TableRows, place: int, max_tokens: int, overlap_tokens: int, log: ProblemLog
) -> Iterator[tuple[int, ...]]:
    encoded = side.table.encoded(place)
    if side.table.rows["is_text"][place]:
        pieces: list[Piece] = divide_text(encoded, max_tokens, overlap_tokens)
        log.add("text_divided", side.table.place(place))
    else:
        fitting = fit_conversation(encoded, max_tokens)
        log.add("truncated_prompt" if fitting else "answer_too_long", side.table.place(place))
        pieces = [fitting] if fitting else []
    for piece in pieces:
        learnt = int(piece.take(encoded)[1][1:].sum())
        yield place, piece.start, piece.end, *piece.cut, piece.context, learnt
