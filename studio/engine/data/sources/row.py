"""One row as a file holds it, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import DatasetInvalid

MAX_ROW_BYTES = 64 * 1024 * 1024
"""Longest row that is read; a longer one is nearly always a file of another kind."""


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
