"""Finding the format of a data set by looking at its rows, or taking what the recipe says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.core.errors import DatasetInvalid, NotAvailableYet, RecipeInvalid
from studio.engine.data.conversation import Record
from studio.engine.data.formats import FORMATS, PART_NAMES, Columns, Format
from studio.engine.data.open_places import fill_places
from studio.engine.data.patterns import columns_of, is_pattern
from studio.engine.data.sources.row import Row
from studio.engine.data.turns import RowInvalid, kind_name, quoted

SAMPLE_ROWS = 100
"""Rows that are looked at to find the format."""


_BESIDE_TEXT = {
    *("label", "labels", "category", "class", "intent", "target"),
    *("context", "title", "summary", "translation", "answer", "output"),
}
"""Columns that must not be dropped unnoticed when the rest would be read as running text."""


@dataclass(frozen=True)
class Layout:
    """A format, which column plays which part of it, and the words for open places by name."""

    format: Format
    columns: Columns
    fill: Mapping[str, str] = field(default_factory=dict)

    def read(self, row: Row) -> Record:
        """Return what the row says.

        Raises:
            DatasetInvalid: The row does not have this layout; file, line and column are named.
        """
        try:
            return self.read_values(row.values)
        except RowInvalid as error:
            raise DatasetInvalid(
                f"{row.place}: {error}.",
                f"Correct the row; rows of this file look like {self.format.example}.",
            ) from error

    def read_values(self, values: Mapping[str, Any]) -> Record:
        """Return what the fields of a row say.

        Raises:
            RowInvalid: They do not have this layout.
        """
        record = self.format.read(values, self.columns)
        return fill_places(record, self.fill) if self.fill else record


def find_layout(rows: Sequence[Row], format_key: str, columns: Mapping[str, str]) -> Layout:
    """Return the layout that the recipe states, or the only one that fits the rows.

    Args:
        rows: The first rows of the file, at least one.
        format_key: A key of ``FORMATS``, or ``auto``.
        columns: Part to column, as the recipe gives them; may be empty.

    Raises:
        RecipeInvalid: The columns name a part that the format does not have.
        DatasetInvalid: No format fits, or several do.
    """
    parts = {PART_NAMES.get(part, part): column for part, column in columns.items()}
    if format_key == "auto" and parts:
        format_key = _format_of_parts(parts)
    if format_key != "auto":
        return _stated_layout(rows, _get_format(format_key), parts)
    found = fitting_layouts(rows)
    if len(found) == 1:
        return found[0]
    raise _unsure(rows, found)


def _get_format(key: str) -> Format:
    if key not in FORMATS:
        raise NotAvailableYet(
            f"The data format {key!r} is not available yet.", f"Use one of {', '.join(FORMATS)}."
        )
    return FORMATS[key]


def _format_of_parts(parts: Mapping[str, str]) -> str:
    fitting = [
        key
        for key, one in FORMATS.items()
        if set(parts) <= set(one.parts) and set(one.required) <= set(parts)
    ]
    if fitting:
        return fitting[0]
    known = sorted({part for one in FORMATS.values() for part in one.parts})
    raise RecipeInvalid(
        f"data.columns names {', '.join(sorted(parts))}; no format consists of these parts.",
        f"Parts are {', '.join(known)}; for example prompt and answer together.",
    )


def _stated_layout(rows: Sequence[Row], one: Format, parts: Mapping[str, str]) -> Layout:
    unknown = sorted(set(parts) - set(one.parts))
    if unknown:
        raise RecipeInvalid(
            f"data.columns names {', '.join(unknown)}, which the format {one.key} does not have.",
            f"Its parts are {', '.join(one.parts)}.",
        )
    names = _column_names(rows)
    columns = dict(parts)
    for part, candidates in {**one.required, **one.optional}.items():
        if part not in columns:
            fitting = [name for name in candidates if name in names]
            if fitting:
                columns[part] = fitting[0]
    missing = [part for part in one.required if not _is_there(columns.get(part, ""), names)]
    if missing:
        raise DatasetInvalid(
            f"{rows[0].path.name} has no column for {' and '.join(missing)} "
            f"(format {one.key}). Columns found: {_listed(names)}.",
            f"Say in data.columns which column plays which part, or change the format. Rows of "
            f"this format look like {one.example}.",
        )
    return Layout(one, columns)


def _is_there(column: str, names: Sequence[str]) -> bool:
    if is_pattern(column, names):
        return set(columns_of(column)) <= set(names)
    return column in names


def fitting_layouts(rows: Sequence[Row]) -> list[Layout]:
    """Return every layout that the names and types of the columns allow."""
    names = _column_names(rows)
    found = [
        layout
        for key, speaker in (("messages", "role"), ("sharegpt", "from"))
        for layout in _chat_layouts(rows, names, FORMATS[key], speaker)
    ]
    if found:
        return found
    texts = {name for name in names if _is_text(rows, name)}
    alpaca = FORMATS["alpaca"]
    if {"chosen", "rejected"} <= set(names):
        return []
    if "input_ids" in names:
        tokens = FORMATS["tokens"]
        return [Layout(tokens, {"input_ids": "input_ids"} | _optional(tokens, names))]
    if {"instruction", "output"} <= texts and ("input" not in names or "input" in texts):
        columns = {part: part for part in alpaca.parts if part in names}
        return [Layout(alpaca, columns | _optional(FORMATS["alpaca"], names))]
    return _pair_layouts(rows, names, texts) or _text_layouts(names, texts)


def _chat_layouts(
    rows: Sequence[Row], names: Sequence[str], one: Format, speaker: str
) -> list[Layout]:
    return [
        Layout(one, {"messages": name} | _optional(one, names))
        for name in names
        if name not in ("prompt", "completion", "chosen", "rejected", "tools")
        and all(_is_turn_list(row.values.get(name), speaker) for row in rows)
    ]


def _pair_layouts(rows: Sequence[Row], names: Sequence[str], texts: set[str]) -> list[Layout]:
    one = FORMATS["prompt"]

    def plays(name: str) -> bool:
        return name in texts or all(_is_turn_list(row.values.get(name), "role") for row in rows)

    prompts = [name for name in one.required["prompt"] if name in names and plays(name)]
    answers = [name for name in one.required["answer"] if name in names and plays(name)]
    if "context" in names or "text" in names:
        return []  # a part of the question would be lost unnoticed
    return [
        Layout(one, {"prompt": prompt, "answer": answer} | _optional(one, names))
        for prompt in prompts
        for answer in answers
    ]


def _text_layouts(names: Sequence[str], texts: set[str]) -> list[Layout]:
    if "text" in texts and not _BESIDE_TEXT & set(names):
        return [Layout(FORMATS["text"], {"text": "text"})]
    if len(names) == 1 and len(texts) == 1:
        return [Layout(FORMATS["text"], {"text": names[0]})]
    return []


def _optional(one: Format, names: Sequence[str]) -> dict[str, str]:
    found = {}
    for part, candidates in one.optional.items():
        fitting = [name for name in candidates if name in names]
        if fitting:
            found[part] = fitting[0]
    return found


def _is_text(rows: Sequence[Row], name: str) -> bool:
    values = [row.values.get(name) for row in rows]
    return any(isinstance(value, str) for value in values) and all(
        value is None or isinstance(value, str) for value in values
    )


def _is_turn_list(value: Any, speaker: str) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(entry, dict) and speaker in entry for entry in value)
    )


def _column_names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.values))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(quoted(name) for name in names[:20]) or "none"
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown


def _unsure(rows: Sequence[Row], found: Sequence[Layout]) -> DatasetInvalid:
    names = _column_names(rows)
    kinds = (
        ", ".join(f"{quoted(name)} ({_kind_in_rows(rows, name)})" for name in names[:20]) or "none"
    )
    if found:
        options = "; ".join(
            f"{layout.format.key} with {dict(layout.columns)}" for layout in found[:6]
        )
        message = f"The rows of {rows[0].path.name} can be read in several ways: {options}."
    else:
        message = f"The format of {rows[0].path.name} was not recognised. Columns found: {kinds}."
    examples = " or ".join(one.example for one in FORMATS.values())
    return DatasetInvalid(
        message,
        "Set data.format and data.columns (which column is the prompt, which the answer). "
        f"Expected is {examples}.",
    )


def _kind_in_rows(rows: Sequence[Row], name: str) -> str:
    return next(
        (kind_name(row.values[name]) for row in rows if row.values.get(name) is not None), "empty"
    )
