"""One row as a file holds it, where it stands, and what happens to a broken one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from studio.core.errors import DatasetInvalid

MAX_ROW_BYTES = 64 * 1024 * 1024
"""Longest row that is read; a longer one is nearly always a file of another kind."""

NO_ROWS = "no_rows"
"""The code of the error for a file without any row; in a folder such a file is passed over."""

Documents = Literal["auto", "file", "line", "blank_line"]
"""Where one document of a text file ends and the next begins."""

OnBroken = Callable[[DatasetInvalid], None]
"""Is told of a broken row that can be passed over; raises if it must not be."""


def refuse(error: DatasetInvalid) -> None:
    """Raise the error: what happens to a broken row unless the user agreed to pass it over."""
    raise error


def keep_quiet(note: str) -> None:
    """Tell nobody."""
    del note


@dataclass(frozen=True)
class Reading:
    """How a file is read.

    ``documents`` matters to text files alone. ``on_broken`` is told of each broken row, ``on_note``
    what else is good to know about a file, as a sentence.
    """

    documents: Documents = "auto"
    on_broken: OnBroken = refuse
    on_note: Callable[[str], None] = keep_quiet


@dataclass(frozen=True)
class Row:
    """The columns of one row.

    ``number`` counts rows from 1. ``line`` is the line in the file from 1, None where a file has
    no lines.
    """

    values: Mapping[str, Any]
    path: Path
    number: int
    line: int | None = None

    @property
    def place(self) -> str:
        """Where the row stands, in words: "train.jsonl, line 3"."""
        return place_of(self.path, self.number, self.line)


def place_of(path: Path, number: int, line: int | None = None) -> str:
    """Return where a row stands, in words."""
    return f"{path.name}, line {line}" if line is not None else f"{path.name}, row {number}"


def check_object(value: object, path: Path, number: int, line: int | None) -> Mapping[str, Any]:
    """Return the row if it is an object with columns.

    Raises:
        DatasetInvalid: The row is a list, a number, a bare text or nothing.
    """
    if isinstance(value, dict):
        return value
    names = {
        list: "a list",
        str: "a text",
        int: "a number",
        float: "a number",
        bool: "true or false",
    }
    raise DatasetInvalid(
        f"{place_of(path, number, line)} holds {names.get(type(value), 'nothing (null)')} instead "
        "of an object with named columns.",
        'Write every row as {"prompt": "…", "completion": "…"} or in another of the known formats.',
    )
