"""JSON Lines: one object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import DatasetInvalid
from studio.engine.data.sources.encoding import decode, iter_raw_lines, open_text
from studio.engine.data.sources.row import MAX_ROW_BYTES, NO_ROWS, Reading, Row, check_object

suffixes = (".jsonl", ".ndjson")


def iter_rows(path: Path, reading: Reading) -> Iterator[Row]:
    """Yield the rows line by line; blank lines are skipped.

    Raises:
        FileUnusable: The file is missing or may not be read.
        DatasetInvalid: A line is not an object in JSON; names the line and the column.
    """
    number = 0
    with open_text(path) as stream:
        for line, raw in enumerate(iter_raw_lines(stream), start=1):
            try:
                text = _check_length(raw, path, line)
                if not text:
                    continue
                values = check_object(_parse(text, path, line), path, number + 1, line)
            except DatasetInvalid as error:
                reading.on_broken(error)
            else:
                number += 1
                yield Row(values, path, number, line)
    if number == 0:
        raise DatasetInvalid(
            f"The data file {path} holds only blank lines or rows that cannot be read.",
            "Choose a file with examples.",
            code=NO_ROWS,
        )


def _check_length(raw: bytes | None, path: Path, line: int) -> str:
    if raw is None:
        raise DatasetInvalid(
            f"{path.name}, line {line} is longer than {MAX_ROW_BYTES >> 20} MB.",
            "Write one example per line. If the file is one long list, name it .json.",
        )
    return decode(raw, path, line).strip()


def _parse(text: str, path: Path, line: int) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if line == 1 and text[0] == "[":
            remedy = "The file looks like one list: rename it to end with .json."
        else:
            remedy = "Correct the line: every line must be one complete object in JSON."
        raise DatasetInvalid(
            f"{path.name}, line {line}, column {error.colno} is not valid JSON: {error.msg}.",
            remedy,
        ) from error
    except RecursionError as error:
        raise DatasetInvalid(
            f"{path.name}, line {line} is nested too deeply to be read.",
            "Write every row as a flat object with named columns.",
        ) from error
    except ValueError as error:
        raise DatasetInvalid(
            f"{path.name}, line {line} holds a number with too many digits.",
            "Write such numbers as text.",
        ) from error
