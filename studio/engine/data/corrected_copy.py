"""A copy of a data file in which some rows were corrected; the file itself is never touched."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import DatasetInvalid, FileUnusable
from studio.core.files import get_file_error, open_atomically
from studio.core.recipe.schema_data import DataSource
from studio.engine.data.read import open_source, source_path

ROWS_AT_ONCE = 200
MOST_CHARACTERS = 400_000
"""Longest row, as JSON, that is handed out to be corrected by hand."""


@dataclass(frozen=True)
class Copied:
    """What was written; ``skipped_rows`` cannot be read and are not in the copy."""

    rows: int
    changed_rows: int
    skipped_rows: int


def iter_copy(
    source: DataSource, base_folder: Path, changes: Mapping[int, Mapping[str, Any]], path: Path
) -> Generator[int, None, Copied]:
    """Write all rows of a source to ``path`` as JSONL, entirely or not at all.

    Args:
        source: The entry of the recipe; its limit does not matter here.
        base_folder: Where relative paths start.
        changes: Other fields by the number of the row among those that can be read, from 0.
        path: The file to write; it must not be one that the source is read from.

    Yields:
        How many rows are written.

    Raises:
        DatasetInvalid: A row holds bytes, which JSON cannot say.
        DiskFull: No space is left; nothing remains.
        FileUnusable: The source cannot be read, or ``path`` not be written.
    """
    origin = source_path(source, base_folder)
    if path.resolve() == origin.resolve() or (origin.is_dir() and path.is_relative_to(origin)):
        raise FileUnusable(
            f"{path} is the file itself, which is never changed.", "Choose another file name."
        )
    everything = source.model_copy(update={"skip_broken": True, "limit": None})
    opened = open_source(everything, base_folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise get_file_error(path.parent, error) from error
    rows = changed = 0
    with open_atomically(path) as stream:
        for index, (row, _) in enumerate(opened.iter_records()):
            values = changes.get(index)
            changed += values is not None
            stream.write(write_fields(row.values if values is None else values, row.place) + b"\n")
            rows += 1
            if rows % ROWS_AT_ONCE == 0:
                yield rows
    return Copied(rows, changed, opened.skipped.count)


def write_fields(values: Mapping[str, Any], place: str) -> bytes:
    """Return the fields of a row as one line of JSON; dates and exact numbers become text.

    Raises:
        DatasetInvalid: A field holds bytes or something else that JSON cannot say.
    """

    def put(value: object) -> object:
        if hasattr(value, "isoformat") or type(value).__name__ in ("Decimal", "timedelta"):
            return str(value)
        raise DatasetInvalid(
            f"{place} holds {type(value).__name__}, which a JSONL file cannot hold.",
            "Leave the column out of the file, or leave the row out instead of correcting it.",
        )

    text = json.dumps(dict(values), ensure_ascii=False, default=put)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a character pair, which only escapes can say
        return json.dumps(dict(values), default=put).encode()


def read_fields(text: str) -> dict[str, Any]:
    """Return the fields that a text says as a JSON object.

    Raises:
        DatasetInvalid: It is none.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetInvalid(f"This is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise DatasetInvalid("A row is an object with named fields.")
    return values
