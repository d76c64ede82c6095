"""All rows of a recipe's data at once: what was found in them, and lists of rows to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from studio.core.events.survey import FileSide
from studio.core.jobs.orders import RowSide
from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.example import Flags
from studio.engine.data.leave_out import find_left_out, log_left_out
from studio.engine.data.prepare import choose_max_tokens, divide, wanted_lengths
from studio.engine.data.problems import DataProblem, ProblemLog
from studio.engine.data.row_lists import RowLists, SourceTable, join_flags
from studio.engine.data.rows import RowEncoder
from studio.engine.data.stored import TableExamples
from studio.engine.data.whole import WholeCheck

_CUT_CODES = ("truncated_prompt", "answer_too_long", "text_divided")


@dataclass
class Survey:
    """What is known of the rows; nothing here is refused, so that everything can be looked at.

    ``train`` and ``validation`` are the tables in the order of the recipe; ``rows`` and ``others``
    list their rows. ``held_back`` marks rows of the training files that are measured on.
    """

    settings: DataSettings
    train: Sequence[SourceTable]
    validation: Sequence[SourceTable]
    encoder: RowEncoder
    model_context: int | None
    problems: tuple[DataProblem, ...] = ()
    max_tokens: int = 0
    auto_tokens: int = 0
    rows: RowLists = field(init=False)
    others: RowLists = field(init=False)
    left_out: Flags = field(init=False)
    held_back: Flags = field(init=False)
    learnt_tokens: int = 0
    kept_tokens: int = 0
    train_examples: int = 0
    validation_examples: int = 0

    def __post_init__(self) -> None:
        """Look at everything once."""
        self.rows, self.others = RowLists(self.train), RowLists(self.validation)
        tables = self.rows.tables
        self._choose_limit()
        log = ProblemLog()
        left_out = find_left_out(self.settings, tables, self.max_tokens, self.model_context)
        log_left_out(tables, left_out, log)
        self.left_out = join_flags(left_out)
        self._divide(left_out, log)
        whole = WholeCheck(tables, log, left_out)
        whole.check(self.model_context)
        whole.check_similar()
        known = whole.check_validation(self.others.tables)
        self._note_findings(whole)
        self.others.note_problems(np.zeros(len(self.others), dtype=np.bool_))
        self.others.note("validation_known", join_flags(known))
        if self.encoder.pads_with_end:
            log.add("pad_is_end")
        has_chats = any(not table.column("is_text").all() for table in tables)
        if self.encoder.template.name == "plain" and self.settings.template == "auto" and has_chats:
            log.add("no_chat_template")
        self.problems = log.problems()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def has_own_validation(self) -> bool:
        """Whether rows of files of their own are measured on, not a share of the training rows."""
        return isinstance(self.settings.validation, tuple)

    def choose_lists(self, side: RowSide) -> tuple[RowLists, Flags | None]:
        """Return the rows that one side consists of, and which of them; None means all."""
        if self.has_own_validation:
            return (self.others, None) if side == "validation" else (self.rows, None)
        if side == "any":
            return self.rows, None
        return self.rows, self.held_back if side == "validation" else ~self.held_back

    def count_findings(self, side: FileSide) -> dict[str, int]:
        """Return how many rows of one side each finding has."""
        rows, among = self.choose_lists(side)
        return rows.count(among)

    def is_listed(self, code: str) -> bool:
        """Return whether the rows with a finding can be looked at one by one."""
        return code in self.rows.findings or code in self.others.findings

    def _choose_limit(self) -> None:
        tables = [*self.rows.tables, *self.others.tables]
        lengths = [wanted_lengths(table) for table in tables]
        joined = np.concatenate([np.zeros(0, np.int64), *lengths])
        context = self.model_context
        self.auto_tokens = choose_max_tokens("auto", joined, context)
        chosen = choose_max_tokens(self.settings.max_tokens, joined, context)
        self.max_tokens = chosen if context is None else min(chosen, context)

    def _divide(self, left_out: list[Flags], log: ProblemLog) -> None:
        taught, held = divide(self.settings, self.rows.tables, self.others.tables, left_out)
        limits = (self.max_tokens, self.settings.overlap_tokens, log)
        names = [str(one.position) for one in self.train]
        store = TableExamples(taught, names, *limits)
        held_names = [str(one.position) for one in self.validation] or names
        held_store = TableExamples(held, held_names, *limits)
        self.learnt_tokens, self.kept_tokens = store.supervised_count, store.token_count
        self.train_examples, self.validation_examples = len(store), len(held_store)
        is_shared = not self.has_own_validation
        self.held_back = (
            join_flags([one.chosen for one in held])
            if is_shared
            else np.zeros(len(self), dtype=np.bool_)
        )
        self._examples = np.zeros(len(self), dtype=np.int64)
        for one in (store, held_store) if is_shared else (store,):
            places = _find_places(self.rows, one)
            np.add.at(self._examples, places, 1)
            np.add.at(self.rows.cut, places, one.cut_tokens)
        if not is_shared:
            self._note_other_cuts(held_store)

    def _note_other_cuts(self, store: TableExamples) -> None:
        places, others = _find_places(self.others, store), self.others
        np.add.at(others.cut, places, store.cut_tokens)
        examples = np.bincount(places, minlength=len(others))
        _note_cuts(others, examples, others.usable(), self.max_tokens)

    def _note_findings(self, whole: WholeCheck) -> None:
        rows, kept = self.rows, ~self.left_out
        rows.note_problems(self.left_out)
        for code, pairs in whole.found.items():
            flags = np.zeros(len(self), dtype=np.bool_)
            flags[rows.starts[pairs[:, 0]] + pairs[:, 1]] = True
            rows.note(code, flags & kept)
        _note_cuts(rows, self._examples, rows.usable() & kept, self.max_tokens)
        rows.note("left_out_by_choice", self.left_out)


def _find_places(rows: RowLists, store: TableExamples) -> NDArray[np.int64]:
    return np.asarray(rows.starts[store.row_places[:, 0]] + store.row_places[:, 1])


def _note_cuts(rows: RowLists, examples: NDArray[np.int64], usable: Flags, limit: int) -> None:
    is_text = rows.column("is_text") > 0
    is_long = usable & (rows.column("length") > limit)
    cut = ((rows.cut > 0) & usable, is_long & (examples == 0), is_long & is_text)
    for code, flags in zip(_CUT_CODES, cut, strict=True):
        rows.note(code, flags)
