"""Rows that the user does not want to learn from: by what a check found, or one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.chunks import mark_rows
from studio.engine.data.example import Flags
from studio.engine.data.file_rows import Rows
from studio.engine.data.problems import PLACES_KEPT, ProblemLog
from studio.engine.data.table import RowTable
from studio.engine.data.whole import WholeCheck

WHOLE_CODES = frozenset(
    {
        "contradicting_answers",
        "duplicate_rows",
        "longer_than_model",
        "many_tokens",
        "near_duplicates",
        "similar_rows",
    }
)
"""Codes that are only known after all rows are read."""


def find_left_out(
    settings: DataSettings,
    tables: Sequence[RowTable],
    max_tokens: int,
    model_context: int | None,
) -> list[Flags]:
    """Return per table which rows the recipe leaves out; shape ``(rows,)`` each."""
    flags = [_by_row(settings, table, max_tokens) for table in tables]
    wanted = WHOLE_CODES & set(settings.leave_out)
    if wanted:
        whole = WholeCheck(tables, ProblemLog(), flags)
        whole.check(model_context)
        if "similar_rows" in wanted:
            whole.check_similar()
        for code in wanted:
            for index, row in whole.found.get(code, np.zeros((0, 2), np.int64)).tolist():
                flags[index][row] = True
    return flags


def log_left_out(tables: Sequence[RowTable], flags: Sequence[Flags], log: ProblemLog) -> None:
    """Write to ``log`` how many rows the recipe leaves out."""
    for table, one in zip(tables, flags, strict=True):
        rows = np.flatnonzero(one)
        places = [table.place(int(row)) for row in rows[:PLACES_KEPT]]
        log.add_counted("left_out_by_choice", len(rows), places)


def _by_row(settings: DataSettings, table: RowTable, max_tokens: int) -> Flags:
    flags = find_excluded(settings, table.rows["key"])
    codes = [code for code in table.about.codes if code in settings.leave_out]
    if codes:
        bits = np.uint64(sum(1 << table.about.codes.index(code) for code in codes))
        flags |= mark_rows(table.rows, lambda rows: rows["problems"] & bits != 0)
    if "truncated_prompt" in settings.leave_out:
        flags |= mark_rows(
            table.rows, lambda rows: (rows["length"] > max_tokens) & ~rows["is_text"]
        )
    return flags


def find_excluded(settings: DataSettings, keys: Rows) -> Flags:
    """Return which rows stand in the recipe's list of excluded ones, by the 16 bytes of each."""
    marks = {bytes.fromhex(mark) for mark in settings.exclude if _is_mark(mark)}
    if not marks:
        return np.zeros(len(keys), dtype=np.bool_)
    # Numpy drops zero bytes at the end of such texts, here and in the table alike.
    wanted = np.array(sorted(marks), dtype="S16")
    return mark_rows(keys, lambda some: np.isin(some, wanted))


def _is_mark(text: str) -> bool:
    return len(text) == 32 and all(one in "0123456789abcdef" for one in text)
