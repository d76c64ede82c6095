"""What is only seen by looking at all rows together: copies, contradictions, odd lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        self._origins = np.concatenate(
            [
                np.stack([np.full(int(one.sum()), index), np.flatnonzero(one)], axis=1)
                for index, one in enumerate(self._usable)
            ]
        )

    def check(self, model_context: int | None) -> None:
        """Write everything that was found to the log."""
        if not len(self._origins):
            return
        self._check_copies()
        self._check_answers()
        lengths, characters = self._column("length"), self._column("characters")
        if model_context is not None:
            self._add("longer_than_model", lengths > model_context)
        is_dense = (lengths > MANY_TOKENS * characters) & (characters >= _FEW_CHARACTERS)
        self._add("many_tokens", is_dense)

    def check_validation(self, tables: Sequence[RowTable]) -> list[Flags]:
        """Write which rows of validation files are learnt as well; return them per table."""
        keys = self._column("key")
        found = []
        for table in tables:
            known = np.isin(table.rows["key"], keys) & table.usable()
            places = [table.place(int(one)) for one in np.flatnonzero(known)[:PLACES_KEPT]]
            self._log.add_counted("validation_known", int(known.sum()), places)
            found.append(np.asarray(known))
        return found

    def check_similar(self) -> None:
        """Write which rows are nearly the same as an earlier one; takes seconds for many rows."""
        known = [code for code in ("duplicate_rows", "near_duplicates") if code in self.found]
        copies = {tuple(one) for code in known for one in self.found[code].tolist()}
        places = [
            place
            for place, origin in enumerate(self._origins[: MOST_ROWS + len(copies)].tolist())
            if tuple(origin) not in copies
        ]
        pairs = find_similar([self._content(place) for place in places])
        if not pairs:
            return
        self.found["similar_rows"] = self._origins[[places[pair.place] for pair in pairs]]
        told = [
            f"{self._name(places[pair.place])} is {pair.share:.0%} like "
            f"{self._name(places[pair.other])}"
            for pair in pairs[:PLACES_KEPT]
        ]
        self._log.add_counted("similar_rows", len(pairs), told)

    def _content(self, place: int) -> NDArray[np.int32]:
        """Return the tokens of a row from the first question on."""
        source, row = self._origins[place].tolist()
        table = self._tables[source]
        start, head = int(table.rows["start"][row]), int(table.rows["head"][row])
        tokens: NDArray[np.int32] = table.ids[start + head : start + int(table.rows["length"][row])]
        return tokens

    def _name(self, place: int) -> str:
        source, row = self._origins[place].tolist()
        name: str = self._tables[source].place(row)
        return name

    def _check_copies(self) -> None:
        keys = self._column("key")
        _, first, group, counts = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        again = (counts[group] > 1) & (first[group] != np.arange(len(keys)))
        exact = np.zeros(len(keys), dtype=np.bool_)
        for place in np.flatnonzero(again).tolist():
            exact[place] = self._tokens(place) == self._tokens(int(first[group[place]]))
        self._add("duplicate_rows", again & exact)
        self._add("near_duplicates", again & ~exact)

    def _check_answers(self) -> None:
        prompts, answers = self._column("prompt"), self._column("answer")
        is_chat = prompts != 0
        pairs = np.unique(np.stack([prompts, answers], axis=1)[is_chat], axis=0)
        asked, counts = np.unique(pairs[:, 0], return_counts=True)
        self._add("contradicting_answers", is_chat & np.isin(prompts, asked[counts > 1]))
        kinds, group, counts = np.unique(answers[is_chat], return_inverse=True, return_counts=True)
        rows = int(is_chat.sum())
        if rows >= _FEWEST_ROWS and 2 <= len(kinds) <= _MOST_ANSWERS:
            top = int(np.argmax(counts))
            if counts[top] >= _DOMINANT_SHARE * rows:
                flags = np.zeros(len(answers), dtype=np.bool_)
                flags[np.flatnonzero(is_chat)[group == top]] = True
                self._add("one_answer_dominates", flags)

    def _column(self, name: str) -> NDArray[Any]:
        return np.concatenate(
            [table.rows[name][one] for table, one in zip(self._tables, self._usable, strict=True)]
        )

    def _tokens(self, place: int) -> bytes:
        source, row = self._origins[place].tolist()
        table = self._tables[source]
        start, length = int(table.rows["start"][row]), int(table.rows["length"][row])
        tokens: bytes = table.ids[start : start + length].tobytes()
        return tokens

    def _add(self, code: str, flags: NDArray[np.bool_]) -> None:
        if not flags.any():
            return
        self.found[code] = self._origins[flags]
        places = [
            self._tables[source].place(row)
            for source, row in self.found[code][:PLACES_KEPT].tolist()
        ]
        self._log.add_counted(code, int(flags.sum()), places)
