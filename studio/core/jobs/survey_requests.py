"""What the Data page asks of a survey: looks, single rows, trials, corrected copies."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from studio.core.jobs.order import Request

RowList = Literal["file", "most_cut", "least_learnt", "longest", "most_tokens"]
RowSide = Literal["any", "train", "validation"]
FileSide = Literal["train", "validation"]
"""Which list of the recipe a file stands in."""


class LookAt(Request):
    """Look through the data of this data part of a recipe; earlier looks are given up."""

    kind: Literal["look_at"] = "look_at"
    request: int
    data: dict[str, JsonValue]


class ShowRow(Request):
    """Show one row: by its place in a list, or by its number in a file where ``row`` is given.

    The list holds the rows of one ``side`` with a finding (empty: all) in the order ``by``. Side
    ``any`` are all rows of the training files, those held back included.
    """

    kind: Literal["show_row"] = "show_row"
    request: int
    rank: int = 0
    source: int = 0
    row: int | None = None
    finding: str = ""
    by: RowList = "file"
    side: RowSide = "any"


class TryTemplate(Request):
    """Show what the text of a template would make of one row; nothing else changes."""

    kind: Literal["try_template"] = "try_template"
    request: int
    text: str
    source: int = 0
    row: int = 1


class OpenRow(Request):
    """Hand out one row with all its fields; ``index`` counts the rows that can be read, from 0."""

    kind: Literal["open_row"] = "open_row"
    request: int
    files: FileSide = "train"
    source: int = 0
    index: int = 0


class TryRow(Request):
    """Show what would become of a row if its fields were ``values`` (a JSON object as text)."""

    kind: Literal["try_row"] = "try_row"
    request: int
    files: FileSide = "train"
    source: int = 0
    index: int = 0
    values: str


class SaveCopy(Request):
    """Write all rows of a file to ``path`` as JSONL, those in ``changes`` with other fields.

    ``changes`` maps the index of a row (see ``OpenRow``) to its fields, a JSON
    object as text. The file itself stays.
    """

    kind: Literal["save_copy"] = "save_copy"
    request: int
    files: FileSide = "train"
    source: int = 0
    changes: dict[int, str]
    path: str


class CancelCopy(Request):
    """Give up writing a copy; nothing of it remains."""

    kind: Literal["cancel_copy"] = "cancel_copy"
    request: int
