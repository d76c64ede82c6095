"""What a data file seems to be, how sure that is, and what else it could be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, permutations
from pathlib import Path
from typing import Any, Literal

from studio.core.errors import DatasetInvalid, StudioError
from studio.core.recipe.schema_data import DataSource
from studio.engine.data.columns import SAMPLE_ROWS, Layout, find_layout, fitting_layouts
from studio.engine.data.read import SkippedRows, source_path
from studio.engine.data.sources.registry import iter_rows
from studio.engine.data.sources.row import Reading, Row
from studio.engine.data.turns import kind_name

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
_MOST_OPTIONS = 6
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

    ``error`` says why the rows cannot be used; ``options`` are format and columns of other ways
    to read them.
    """

    path: str
    certainty: Certainty
    why: str = ""
    layout: Layout | None = None
    columns: tuple[Column, ...] = ()
    options: tuple[tuple[str, Mapping[str, str]], ...] = ()
    error: StudioError | None = None
    rows: tuple[Row, ...] = field(default=(), repr=False)


def examine(source: DataSource, base_folder: Path) -> Examined:
    """Return what a source seems to be, judged by its first rows; broken rows are passed over."""
    skipped = SkippedRows()
    try:
        path = source_path(source, base_folder)
        reading = Reading(source.documents, skipped.add)
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
        options = tuple(_iter_options(rows, columns))
        return Examined(
            str(path), "unsure", columns=columns, options=options, error=error, rows=rows
        )
    certainty, why = _judge(source, layout, rows)
    return Examined(str(path), certainty, why, layout, columns, rows=rows)


def _judge(source: DataSource, layout: Layout, rows: Sequence[Row]) -> tuple[Certainty, str]:
    fitting = sum(_fits(layout, row) for row in rows)
    if fitting < len(rows):
        return "likely", f"{fitting} of the first {len(rows)} rows fit; the others cannot be read."
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


def _iter_options(rows: Sequence[Row], columns: Sequence[Column]) -> Any:
    fitting = fitting_layouts(rows)
    for layout in fitting[:_MOST_OPTIONS]:
        yield layout.format.key, dict(layout.columns)
    if fitting:
        return
    texts = [column.name for column in columns if column.kind == "text"]
    room = _MOST_OPTIONS - min(2, len(texts))
    for prompt, answer in islice(permutations(texts, 2), room):
        yield "prompt", {"prompt": prompt, "answer": answer}
    for text in texts[:2]:
        yield "text", {"text": text}


def _shorten(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    line = " ".join(text.split())
    return line if len(line) <= _EXAMPLE_CHARACTERS else f"{line[:_EXAMPLE_CHARACTERS]} …"
