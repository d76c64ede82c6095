"""What is only seen by looking at all rows together: copies, contradictions, odd lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from studio.core.units import format_percent
from studio.engine.data.chunks import first_bytes, iter_chunks, iter_groups, mark_rows
from studio.engine.data.example import Flags
from studio.engine.data.problems import PLACES_KEPT, ProblemLog
from studio.engine.data.similar import MOST_ROWS, find_similar
from studio.engine.data.table import RowTable

MANY_TOKENS = 1.5
"""Tokens per character above which the tokenizer hardly knows the writing; English has 0.25."""
_FEW_CHARACTERS = 20
_FEWEST_ROWS = 50
_MOST_ANSWERS = 50
_DOMINANT_SHARE = 0.9


class WholeCheck:
    """Looks at the rows of all training sources at once.

    ``found`` has per code the rows concerned, shape ``(rows, 2)``: number of the table, row in it.
    """

    def __init__(
        self, tables: Sequence[RowTable], log: ProblemLog, left_out: Sequence[Flags] = ()
    ) -> None:
        """Prepare for some tables, without the rows that ``left_out`` marks in each of them."""
        self.found: dict[str, NDArray[np.int64]] = {}
        self._tables = tables
        self._log = log
        self._usable = [table.usable() for table in tables]
        if left_out:
            pairs = zip(self._usable, left_out, strict=True)
            self._usable = [one & ~other for one, other in pairs]
        self._starts = np.cumsum([0, *(len(table) for table in tables)])

    def check(self, model_context: int | None) -> None:
        """Write everything that was found to the log."""
        if not any(one.any() for one in self._usable):
            return
        self._check_copies()
        self._check_contradictions()
        self._check_one_answer()
        if model_context is not None:
            # Running text is divided, so that all of it is read.
            self._add(
                "longer_than_model",
                self._mark(lambda rows: (rows["length"] > model_context) & ~rows["is_text"]),
            )
        self._add("many_tokens", self._mark(_is_dense))

    def check_validation(self, tables: Sequence[RowTable]) -> list[Flags]:
        """Write which rows of validation files are learnt as well; return them per table."""
        found = []
        for table in tables:
            known = self._find_known(table) & table.usable()
            places = [table.place(int(one)) for one in np.flatnonzero(known)[:PLACES_KEPT]]
            self._log.add_counted("validation_known", int(known.sum()), places)
            found.append(np.asarray(known))
        return found

    def check_similar(self) -> None:
        """Write which rows are nearly the same as an earlier one; takes seconds for many rows."""
        known = [code for code in ("duplicate_rows", "near_duplicates") if code in self.found]
        first = self._join(self._usable)
        for code in known:
            first[self._starts[self.found[code][:, 0]] + self.found[code][:, 1]] = False
        places = np.flatnonzero(first)[:MOST_ROWS].tolist()
        pairs = find_similar([self._content(place) for place in places])
        if not pairs:
            return
        self.found["similar_rows"] = self._locate([places[pair.place] for pair in pairs])
        told = [
            f"{self._name(places[pair.place])} is {format_percent(pair.share)} like "
            f"{self._name(places[pair.other])}"
            for pair in pairs[:PLACES_KEPT]
        ]
        self._log.add_counted("similar_rows", len(pairs), told)

    def _content(self, place: int) -> NDArray[np.int32]:
        """Return the tokens of a row from the first question on."""
        source, row = self._locate([place])[0].tolist()
        encoded = self._tables[source].encoded(row)
        tokens: NDArray[np.int32] = encoded.ids[encoded.head_tokens :]
        return tokens

    def _name(self, place: int) -> str:
        source, row = self._locate([place])[0].tolist()
        name: str = self._tables[source].place(row)
        return name

    def _locate(self, places: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return number of the table and row in it for places among all; shape ``(rows, 2)``."""
        wanted = np.asarray(places, dtype=np.int64)
        sources = np.searchsorted(self._starts, wanted, side="right") - 1
        return np.stack([sources, wanted - self._starts[sources]], axis=1)

    def _check_copies(self) -> None:
        exact, near = self._no_flags(), self._no_flags()
        for places, keys in self._iter_groups("key", self._usable):
            _, first, group, counts = np.unique(
                keys, return_index=True, return_inverse=True, return_counts=True
            )
            again = (counts[group] > 1) & (first[group] != np.arange(len(keys)))
            for one in np.flatnonzero(again).tolist():
                place, earlier = int(places[one]), int(places[first[group[one]]])
                is_exact = self._tokens(place) == self._tokens(earlier)
                (exact if is_exact else near)[place] = True
        self._add("duplicate_rows", exact)
        self._add("near_duplicates", near)

    def _check_contradictions(self) -> None:
        found = self._no_flags()
        chats = self._split(self._mark(_is_chat))
        for places, pairs in self._iter_groups("prompt", chats):
            asked, counts = np.unique(np.unique(pairs, axis=0)[:, 0], return_counts=True)
            if (counts > 1).any():
                found[places] = np.isin(pairs[:, 0], asked[counts > 1])
        self._add("contradicting_answers", found)

    def _check_one_answer(self) -> None:
        """Find out whether few answers are given, and one of them nearly always."""
        counts: Counter[int] = Counter()
        for table, usable in zip(self._tables, self._usable, strict=True):
            for where, rows in iter_chunks(table.rows):
                answers = rows["answer"][usable[where] & _is_chat(rows)]
                kinds, times = np.unique(answers, return_counts=True)
                if len(kinds) > _MOST_ANSWERS:
                    return
                counts.update(dict(zip(kinds.tolist(), times.tolist(), strict=True)))
        rows_seen = counts.total()
        if rows_seen < _FEWEST_ROWS or not 2 <= len(counts) <= _MOST_ANSWERS:
            return
        top = min(counts, key=lambda answer: (-counts[answer], answer))
        if counts[top] >= _DOMINANT_SHARE * rows_seen:
            answer = np.uint64(top)
            flags = self._mark(lambda rows: _is_chat(rows) & (rows["answer"] == answer))
            self._add("one_answer_dominates", flags)

    def _find_known(self, table: RowTable) -> Flags:
        """Return which rows of another table say what a usable row says."""
        keys = table.column("key")
        known = np.zeros(len(table), dtype=np.bool_)
        for mine, usable in zip(self._tables, self._usable, strict=True):
            for where, rows in iter_chunks(mine.rows):
                known |= np.isin(keys, rows["key"][usable[where]])
        return known

    def _iter_groups(
        self, name: Literal["key", "prompt"], chosen: Sequence[Flags]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Yield rows with their keys, or with prompt and answer, equal ones in one group."""
        tables = [table.rows for table in self._tables]
        if name == "key":
            return iter_groups(
                tables, chosen, lambda rows: first_bytes(rows["key"]), lambda rows: rows["key"]
            )
        return iter_groups(
            tables,
            chosen,
            lambda rows: (rows["prompt"] >> np.uint64(56)).astype(np.uint8),
            lambda rows: np.stack([rows["prompt"], rows["answer"]], axis=1),
        )

    def _mark(self, test: Callable[[NDArray[Any]], Flags]) -> Flags:
        """Return which usable rows of all tables pass a test; shape ``(rows,)``."""
        pairs = zip(self._tables, self._usable, strict=True)
        return self._join([mark_rows(table.rows, test) & usable for table, usable in pairs])

    def _tokens(self, place: int) -> bytes:
        source, row = self._locate([place])[0].tolist()
        tokens: bytes = self._tables[source].encoded(row).ids.tobytes()
        return tokens

    def _no_flags(self) -> Flags:
        return np.zeros(int(self._starts[-1]), dtype=np.bool_)

    def _join(self, flags: Sequence[Flags]) -> Flags:
        return np.concatenate([np.zeros(0, np.bool_), *flags])

    def _split(self, flags: Flags) -> list[Flags]:
        return np.split(flags, self._starts[1:-1])

    def _add(self, code: str, flags: Flags) -> None:
        if not flags.any():
            return
        self.found[code] = self._locate(np.flatnonzero(flags))
        places = [
            self._tables[source].place(row)
            for source, row in self.found[code][:PLACES_KEPT].tolist()
        ]
        self._log.add_counted(code, len(self.found[code]), places)


def _is_chat(rows: NDArray[Any]) -> Flags:
    return np.asarray(rows["prompt"] != 0)


def _is_dense(rows: NDArray[Any]) -> Flags:
    characters = rows["characters"]
    is_dense = rows["length"] > MANY_TOKENS * characters
    return np.asarray(is_dense & (characters >= _FEW_CHARACTERS))
