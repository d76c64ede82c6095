"""All rows of a recipe's data at once: what was found in them, and lists of rows to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from studio.core.jobs.orders import RowList
from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.example import Flags
from studio.engine.data.leave_out import find_left_out, log_left_out
from studio.engine.data.prepare import choose_max_tokens, divide, wanted_lengths
from studio.engine.data.problems import DataProblem, ProblemLog
from studio.engine.data.rows import RowEncoder
from studio.engine.data.stored import TableExamples
from studio.engine.data.table import RowTable
from studio.engine.data.whole import WholeCheck

Places = NDArray[np.int64]
_CUT_CODES = ("truncated_prompt", "answer_too_long", "text_divided")


@dataclass(frozen=True)
class SourceTable:
    """The rows of one source and its number in the recipe."""

    position: int
    table: RowTable


@dataclass
class Survey:
    """What is known of the rows; nothing here is refused, so that everything can be looked at.

    ``train`` and ``validation`` are the tables in the order of the recipe. A row is meant by its
    place among all training rows.
    """

    settings: DataSettings
    train: Sequence[SourceTable]
    validation: Sequence[SourceTable]
    encoder: RowEncoder
    model_context: int | None
    problems: tuple[DataProblem, ...] = ()
    max_tokens: int = 0
    auto_tokens: int = 0
    left_out: Flags = field(init=False)
    held_back: Flags = field(init=False)
    learnt_tokens: int = 0
    kept_tokens: int = 0
    train_examples: int = 0
    validation_examples: int = 0
    findings: dict[str, Flags] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Look at everything once."""
        self._tables = [one.table for one in self.train]
        self._starts = np.cumsum([0, *(len(table) for table in self._tables)])
        self._lists: dict[tuple[str, str], Places] = {}
        self._choose_limit()
        log = ProblemLog()
        left_out = find_left_out(self.settings, self._tables, self.max_tokens, self.model_context)
        log_left_out(self._tables, left_out, log)
        self.left_out = _join(left_out)
        self._divide(left_out, log)
        whole = WholeCheck(self._tables, log, left_out)
        whole.check(self.model_context)
        whole.check_similar()
        whole.check_validation([one.table for one in self.validation])
        self._note_findings(whole)
        if self.encoder.pads_with_end:
            log.add("pad_is_end")
        has_chats = any(not table.rows["is_text"].all() for table in self._tables)
        if self.encoder.template.name == "plain" and self.settings.template == "auto" and has_chats:
            log.add("no_chat_template")
        self.problems = log.problems()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def locate(self, place: int) -> tuple[int, int]:
        """Return the number of the table and the row in it for a place among all rows."""
        table = int(np.searchsorted(self._starts, place, side="right")) - 1
        return table, place - int(self._starts[table])

    def find_place(self, position: int, row: int) -> int | None:
        """Return the place of row ``row`` (from 1) of a source, or of the next one after it."""
        for number, one in enumerate(self.train):
            if one.position == position:
                rows = np.flatnonzero(one.table.rows["number"] >= row)
                index = int(rows[0]) if len(rows) else len(one.table) - 1
                return int(self._starts[number]) + index if len(one.table) else None
        return None

    def list_rows(self, finding: str, by: RowList) -> Places:
        """Return the places of rows with a finding (empty: all), in the wanted order."""
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
        return self._lists[key]

    def codes_of(self, place: int) -> tuple[str, ...]:
        """Return the findings of one row."""
        return tuple(code for code, flags in self.findings.items() if flags[place])

    def _order(self, by: RowList) -> NDArray[np.float64] | None:
        """Return numbers of which the smallest come first; None keeps the order of the files."""
        if by == "file":
            return None
        length = self._column("length").astype(np.float64)
        if by == "longest":
            return -length
        if by == "most_cut":
            return -self._cut
        if by == "least_learnt":
            return self._column("learnt") / np.maximum(length, 1)
        return -length / np.maximum(self._column("characters"), 1)

    def _column(self, name: str) -> NDArray[np.float64]:
        columns = [table.rows[name] for table in self._tables]
        return np.concatenate([np.zeros(0), *columns])

    def _choose_limit(self) -> None:
        tables = [one.table for one in (*self.train, *self.validation)]
        lengths = [wanted_lengths(table) for table in tables]
        joined = np.concatenate([np.zeros(0, np.int64), *lengths])
        context = self.model_context
        self.auto_tokens = choose_max_tokens("auto", joined, context)
        chosen = choose_max_tokens(self.settings.max_tokens, joined, context)
        self.max_tokens = chosen if context is None else min(chosen, context)

    def _divide(self, left_out: list[Flags], log: ProblemLog) -> None:
        others = [one.table for one in self.validation]
        taught, held = divide(self.settings, self._tables, others, left_out)
        limits = (self.max_tokens, self.settings.overlap_tokens, log)
        names = [str(one.position) for one in self.train]
        store = TableExamples(taught, names, *limits)
        held_names = [str(one.position) for one in self.validation] or names
        held_store = TableExamples(held, held_names, *limits)
        self.learnt_tokens, self.kept_tokens = store.supervised_count, store.token_count
        self.train_examples, self.validation_examples = len(store), len(held_store)
        is_shared = held_names is names
        self.held_back = _join([one.chosen for one in held]) if is_shared else ~self._every()
        self._cut = np.zeros(len(self))
        self._examples = np.zeros(len(self), dtype=np.int64)
        for one in (store, held_store) if is_shared else (store,):
            places = self._starts[one.row_places[:, 0]] + one.row_places[:, 1]
            np.add.at(self._examples, places, 1)
            np.add.at(self._cut, places, one.cut_tokens)

    def _every(self) -> Flags:
        return np.ones(len(self), dtype=np.bool_)

    def _note_findings(self, whole: WholeCheck) -> None:
        for index, code in enumerate(self._tables[0].about.codes if self._tables else ()):
            bit = np.uint64(1 << index)
            self._note(code, _join([table.rows["problems"] & bit != 0 for table in self._tables]))
        for code, pairs in whole.found.items():
            flags = ~self._every()
            flags[self._starts[pairs[:, 0]] + pairs[:, 1]] = True
            self._note(code, flags)
        usable = _join([table.usable() for table in self._tables]) & ~self.left_out
        is_text = self._column("is_text") > 0
        is_long = usable & (self._column("length") > self.max_tokens)
        cut = (self._cut > 0, is_long & (self._examples == 0), is_long & is_text)
        for code, flags in zip(_CUT_CODES, cut, strict=True):
            self._note(code, flags)
        self._note("left_out_by_choice", self.left_out)

    def _note(self, code: str, flags: Flags) -> None:
        if code != "left_out_by_choice":
            flags = flags & ~self.left_out
        if flags.any():
            self.findings[code] = self.findings.get(code, ~self._every()) | flags


def _join(flags: Sequence[Flags]) -> Flags:
    return np.concatenate([np.zeros(0, np.bool_), *flags])
