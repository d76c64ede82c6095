"""What a data file seems to be, how sure that is, and what else it could be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from studio.core.errors import DatasetInvalid, StudioError
from studio.core.recipe.schema_data import DataSource
from studio.engine.data.columns import SAMPLE_ROWS, Layout, find_layout
from studio.engine.data.read import SkippedRows, source_path
from studio.engine.data.sources.registry import iter_rows
from studio.engine.data.sources.row import Reading, Row
from studio.engine.data.sources.text import ENDS
from studio.engine.data.turns import kind_name, quoted
from studio.engine.data.ways import Way, find_kind, iter_ways

Certainty = Literal["stated", "sure", "likely", "unsure", "unreadable"]
_UNMISTAKABLE = ("messages", "sharegpt", "alpaca", "tokens")
_USUAL_PAIRS = {
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("question", "answer"),
    ("query", "response"),
    ("instruction", "response"),
    ("instruction", "output"),
}
_MOST_COLUMNS = 40
_NAMED_COLUMNS = 8
_LOOKED_AT = 200_000
_FEWEST_LINES = 50
_SHORT_LINE = 60
_EXAMPLE_CHARACTERS = 120


@dataclass(frozen=True)
class Column:
    """A column, what it holds in words, and the beginning of its first value."""

    name: str
    kind: str
    example: str


@dataclass(frozen=True)
class Examined:
    """What the first rows of a source show.

    ``error`` says why the rows cannot be used; ``options`` are other ways to read them; ``seems``
    names what the file seems to be where it has to be asked about.
    """

    path: str
    certainty: Certainty
    why: str = ""
    layout: Layout | None = None
    columns: tuple[Column, ...] = ()
    options: tuple[Way, ...] = ()
    error: StudioError | None = None
    rows: tuple[Row, ...] = field(default=(), repr=False)
    seems: str = ""


def examine(source: DataSource, base_folder: Path) -> Examined:
    """Return what a source seems to be, judged by its first rows; broken rows are passed over."""
    skipped = SkippedRows()
    notes: list[str] = []
    try:
        path = source_path(source, base_folder)
        reading = Reading(source.documents, skipped.add, notes.append)
        found = iter_rows(path, source.limit, split=source.split, reading=reading)
        rows = tuple(islice(found, SAMPLE_ROWS))
        if not rows:
            words = " ".join(skipped.faults[:1])
            raise DatasetInvalid(f"{path.name} holds no row that can be read. {words}")
    except StudioError as error:
        return Examined(source.source, "unreadable", error=error)
    columns = tuple(_iter_columns(rows))
    try:
        layout = find_layout(rows, source.format, source.columns)
    except StudioError as error:
        return _ask(path, source, rows, columns, error)
    if source.format == "auto" and source.documents == "auto" and _has_short_lines(rows):
        return Examined(
            str(path),
            "likely",
            "Each file is read as one text, but its lines are short: is every line one by itself?",
            layout,
            columns,
            (
                Way("text", {}, "Every line is a text of its own", "line"),
                Way("text", {}, "Each file is one text", "file"),
            ),
            rows=rows,
        )
    certainty, why = _judge(source, layout, rows)
    why = " ".join((why, *notes[:1]))
    return Examined(str(path), certainty, why, layout, columns, rows=rows)


def _ask(
    path: Path,
    source: DataSource,
    rows: tuple[Row, ...],
    columns: tuple[Column, ...],
    error: StudioError,
) -> Examined:
    """Return what to ask: a well-known kind of file, or any file whose columns say nothing."""
    kind = find_kind(rows) if source.format == "auto" and not source.columns else None
    if kind is None:
        ways = tuple(iter_ways(rows, [(column.name, column.kind) for column in columns]))
        if source.format == "auto" and not source.columns:
            error = _build_question(path, columns, ways)
        return Examined(str(path), "unsure", columns=columns, options=ways, error=error, rows=rows)
    told = DatasetInvalid(kind.message, kind.remedy)
    return Examined(
        str(path), "unsure", "", None, columns, kind.ways, told, rows=rows, seems=kind.name
    )


def _build_question(path: Path, columns: Sequence[Column], ways: Sequence[Way]) -> DatasetInvalid:
    """Return what is asked of people; the error of a run names settings of the recipe instead."""
    names = ", ".join(quoted(column.name) for column in columns[:_NAMED_COLUMNS]) or "none"
    more = f" and {len(columns) - _NAMED_COLUMNS} more" if len(columns) > _NAMED_COLUMNS else ""
    remedy = "Take one of these ways, or choose a format and a column for each of its parts."
    return DatasetInvalid(
        f"The columns of {path.name} do not say what is asked and what is answered: {names}{more}.",
        remedy if ways else "Choose a format and a column for each of its parts.",
    )


def _has_short_lines(rows: Sequence[Row]) -> bool:
    """Return whether text files consist of nothing but short lines, such as a list of names."""
    if not all(ENDS in row.values for row in rows):
        return False
    text = str(rows[0].values["text"])[:_LOOKED_AT]
    lines = text.split("\n")[:-1]
    return len(lines) >= _FEWEST_LINES and all(0 < len(line) <= _SHORT_LINE for line in lines)


def _judge(source: DataSource, layout: Layout, rows: Sequence[Row]) -> tuple[Certainty, str]:
    fitting = sum(_fits(layout, row) for row in rows)
    if fitting < len(rows):
        return "likely", f"{fitting} of the first {len(rows)} rows fit; the others cannot be read."
    if all(ENDS in row.values for row in rows) and source.format == "auto":
        return "sure", "A text file: running text, all of which is learnt."
    count = "The only row fits" if len(rows) == 1 else f"All of the first {len(rows)} rows fit"
    if source.format != "auto" or source.columns:
        return "stated", f"{count} what you chose."
    parts = layout.columns
    is_usual = (parts.get("prompt"), parts.get("answer")) in _USUAL_PAIRS
    key = layout.format.key
    if key in _UNMISTAKABLE or is_usual or parts.get("text") == "text":
        return "sure", f"{count}, and the names of the columns are the usual ones."
    return "likely", f"{count}, but the names of the columns could also mean something else."


def _fits(layout: Layout, row: Row) -> bool:
    try:
        layout.read(row)
    except DatasetInvalid:
        return False
    return True


def _iter_columns(rows: Sequence[Row]) -> Any:
    names = dict.fromkeys(name for row in rows for name in row.values)
    for name in islice(names, _MOST_COLUMNS):
        first = next((row.values[name] for row in rows if row.values.get(name) is not None), None)
        yield Column(name, "empty" if first is None else kind_name(first), _shorten(first))


def _shorten(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    line = " ".join(text.split())
    return line if len(line) <= _EXAMPLE_CHARACTERS else f"{line[:_EXAMPLE_CHARACTERS]} …"
