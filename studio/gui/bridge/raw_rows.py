"""The first rows of a data file as they are written, read beside the GUI thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import DatasetInvalid
from studio.core.files import get_file_error
from studio.core.hub.resolve import find_data_path

_HEAD_BYTES = 4_000_000
_BLOCK_BYTES = 1 << 20
_LONGEST_TEXT = 600
_NAMES = ("content", "value")
_SHOWN_SUFFIXES = (".jsonl", ".ndjson", ".json")
_ROLES = ("role", "from")


@dataclass(frozen=True)
class RawRows:
    """The beginning of a file; ``row_count`` is None where counting would take long."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    row_count: int | None
    size_bytes: int


def load_raw_rows(path: Path, limit: int = 50, is_cancelled: Callable[[], bool] = bool) -> RawRows:
    """Return the first rows of a JSON or JSONL file.

    Raises:
        FileUnusable: The file is missing or cannot be read.
        DatasetInvalid: It is empty or is no JSON.
    """
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        text = head.decode("utf-8-sig", errors="replace")
        is_array = text.lstrip()[:1] == "["
        is_whole = size_bytes <= _HEAD_BYTES
        if not text.strip():
            raise DatasetInvalid(f"{path.name} is empty.", "Choose a file with examples.")
        objects = list(_iter_array(text, path) if is_array else _iter_lines(text, path, is_whole))
        if is_array:
            count = len(objects) if is_whole else None
        else:
            count = count_lines(path, is_cancelled)
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    return _build(objects[:limit], count, size_bytes)


def find_shown_file(source: str) -> Path:
    """Return the file whose rows are shown of a source: itself, or the first text table in it.

    Raises:
        FileUnusable: A data set of the hub is not on this machine.
        DatasetInvalid: A folder holds no table that can be read without the engine.
    """
    path = find_data_path(source, Path())
    if not path.is_dir():
        return path
    found = sorted(one for one in path.rglob("*") if one.suffix.lower() in _SHOWN_SUFFIXES)
    if not found:
        raise DatasetInvalid(
            f"The files in {source} cannot be shown raw.",
            "Choose a model, then look at them as the model sees them.",
        )
    return found[0]


def count_lines(path: Path, is_cancelled: Callable[[], bool] = bool) -> int | None:
    """Return how many lines with content a file has; None when cancelled."""
    count, tail = 0, b""
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            if is_cancelled():
                return None
            lines = (tail + block).split(b"\n")
            tail = lines.pop()
            count += sum(1 for line in lines if line.strip())
    return count + bool(tail.strip())


def show_cell(value: Any) -> str:
    """Return a value of a row as text for people, shortened; conversations one turn per line."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, list) and value and all(isinstance(turn, Mapping) for turn in value):
        text = "\n".join(_show_turn(turn) for turn in value)
    elif value is None:
        text = ""
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} …"


def _show_turn(turn: Mapping[str, Any]) -> str:
    role = next((str(turn[key]) for key in _ROLES if key in turn), "")
    words = next((turn[key] for key in _NAMES if key in turn), None)
    if not role or words is None:
        return json.dumps(turn, ensure_ascii=False)
    shown = words if isinstance(words, str) else json.dumps(words, ensure_ascii=False)
    return f"{role}: {shown}"


def _iter_lines(text: str, path: Path, is_whole: bool) -> Iterable[Any]:
    lines = text.splitlines()
    if not is_whole and len(lines) > 1:
        lines.pop()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except ValueError as error:
            raise DatasetInvalid(
                f"{path.name}, line {number} is not valid JSON: {error}.",
                "Every line has to hold one example such as "
                '{"prompt": "…", "completion": "…"}. Mend the line or choose another file.',
            ) from error


def _iter_array(text: str, path: Path) -> Iterable[Any]:
    decoder = json.JSONDecoder()
    position = text.index("[") + 1
    while True:
        while position < len(text) and text[position] in " \t\r\n,":
            position += 1
        if position >= len(text) or text[position] == "]":
            return
        try:
            value, position = decoder.raw_decode(text, position)
        except ValueError as error:
            if len(text) >= _HEAD_BYTES - 4:
                return
            raise DatasetInvalid(
                f"{path.name} is not valid JSON: {error}.", "Mend the file or choose another."
            ) from error
        yield value


def _build(objects: list[Any], row_count: int | None, size_bytes: int) -> RawRows:
    columns: dict[str, None] = {}
    for row in objects:
        columns |= dict.fromkeys(map(str, row)) if isinstance(row, Mapping) else {"row": None}
    rows = tuple(
        tuple(show_cell(row.get(name)) for name in columns)
        if isinstance(row, Mapping)
        else tuple(show_cell(row) if name == "row" else "" for name in columns)
        for row in objects
    )
    return RawRows(tuple(columns), rows, row_count, size_bytes)
