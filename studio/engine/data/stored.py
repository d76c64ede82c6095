"""Examples that are cut from tables of tokenised rows only when they are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.example import ORIGIN, Example, ExampleStore, Flags
from studio.engine.data.problems import ProblemLog
from studio.engine.data.table import RowTable, problem_places
from studio.engine.data.truncate import Piece, divide_text, fit_conversation

_PIECE = np.dtype(
    [
        ("source", "<i4"),
        ("row", "<i8"),
        ("start", "<i8"),
        ("end", "<i8"),
        ("cut_start", "<i8"),
        ("cut_end", "<i8"),
        ("context", "<i4"),
        ("learnt", "<i8"),
    ]
)


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
        pieces = []
        for side in sides:
            _log_problems(side, log)
            pieces.append(_cut(side, max_tokens, overlap_tokens, log))
        self._pieces: NDArray[Any] = _join(pieces)
        cut = self._pieces["cut_end"] - self._pieces["cut_start"]
        self.lengths = self._pieces["end"] - self._pieces["start"] - cut
        self.learnt = np.ascontiguousarray(self._pieces["learnt"])
        self.source_positions = self._pieces["source"].astype(np.int64)

    @property
    def row_places(self) -> NDArray[np.int64]:
        """Number of the table and row in it of each example; shape ``(examples, 2)``."""
        pairs = [self._pieces["source"].astype(np.int64), self._pieces["row"]]
        return np.stack(pairs, axis=1)

    def list_origins(self) -> NDArray[Any]:
        """Return where each example comes from; shape ``(examples,)`` of ``ORIGIN``."""
        origins = np.zeros(len(self._pieces), dtype=ORIGIN)
        origins["source"], origins["index"] = self._pieces["source"], self._pieces["row"]
        for source, table in self._tables.items():
            mine = self._pieces["source"] == source
            rows = table.rows[self._pieces["row"][mine]]
            origins["number"][mine], origins["line"][mine] = rows["number"], rows["line"]
            origins["mark"][mine] = rows["key"]
        # The pieces of a row stand one after the other.
        places = np.arange(len(origins))
        is_first = np.ones(len(origins), dtype=np.bool_)
        is_first[1:] = np.diff(self.row_places, axis=0).any(axis=1)
        first = np.maximum.accumulate(np.where(is_first, places, 0))
        origins["piece"] = np.minimum(places - first, _MOST_PIECES)
        return origins

    @property
    def largest_token(self) -> int:
        """The highest token number of the rows, those that are not trained among them."""
        return max((int(one.ids.max(initial=-1)) for one in self._tables.values()), default=-1)

    @property
    def cut_tokens(self) -> NDArray[np.int64]:
        """How many tokens of the row each example lacks; shape ``(examples,)``."""
        return np.asarray(self._pieces["cut_end"] - self._pieces["cut_start"])

    def _build(self, place: int) -> Example:
        row = self._pieces[place]
        table = self._tables[int(row["source"])]
        piece = Piece(
            int(row["start"]),
            int(row["end"]),
            (int(row["cut_start"]), int(row["cut_end"])),
            int(row["context"]),
        )
        ids, supervised = piece.take(table.encoded(int(row["row"])))
        number = int(table.rows["number"][int(row["row"])])
        return Example(
            ids, supervised, piece.truncated_tokens, number, self.sources[int(row["source"])]
        )


def _log_problems(side: TableRows, log: ProblemLog) -> None:
    for code, (count, places) in problem_places(side.table, side.chosen).items():
        log.add_counted(code, count, places, side.table.about.details.get(code, ""))


def _cut(side: TableRows, max_tokens: int, overlap_tokens: int, log: ProblemLog) -> NDArray[Any]:
    rows = side.table.rows
    kept = side.chosen & side.table.usable()
    fits = np.flatnonzero(kept & (rows["length"] <= max_tokens))
    whole = np.zeros(len(fits), dtype=_PIECE)
    whole["source"], whole["row"] = side.source, fits
    whole["end"], whole["learnt"] = rows["length"][fits], rows["learnt"][fits]
    long = np.array(
        [
            one
            for place in np.flatnonzero(kept & (rows["length"] > max_tokens)).tolist()
            for one in _cut_row(side, place, max_tokens, overlap_tokens, log)
        ],
        dtype=_PIECE,
    )
    if not len(long):
        return whole
    every = np.concatenate([whole, long])
    return every[np.argsort(every["row"], kind="stable")]


def _join(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the pieces in one array; where only one part has any, that part, not a copy."""
    filled = [one for one in parts if len(one)]
    if len(filled) == 1:
        return filled[0]
    return np.concatenate([np.zeros(0, dtype=_PIECE), *filled])


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
        yield side.source, place, piece.start, piece.end, *piece.cut, piece.context, learnt
