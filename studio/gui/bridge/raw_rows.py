"""The first rows of a data file as they are written, read beside the GUI thread."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from studio.core.errors import DatasetInvalid
from studio.core.events.types import RowsPeeked
from studio.core.files import get_file_error
from studio.core.hub.client import HubFile
from studio.core.hub.first_rows import FirstRows
from studio.core.hub.resolve import find_data_path
from studio.core.line_decoder import decode_beginning
from studio.core.units import format_bytes

_HEAD_BYTES = 4_000_000
_BLOCK_BYTES = 1 << 20
_LONGEST_TEXT = 600
_MOST_ROWS = 20_000
_KINDS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
    ".md": "text",
    ".parquet": "other",
    ".arrow": "other",
    ".gz": "other",
    ".zst": "other",
    ".zip": "other",
}
CHILD_ONLY = "child_only"
"""The code of the error for a kind of file that only a child with the engine can read."""
_NAMES = ("content", "value")
_SHOWN_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".md")
_ROLES = ("role", "from")


@dataclass(frozen=True)
class RawRows:
    """The beginning of a file; ``row_count`` is None where counting would take long.

    ``broken`` says what is wrong with rows that cannot be read; they are not among ``rows``.
    ``uncounted`` is the file whose rows ``count_lines`` can count. ``part`` is the file in a folder
    whose rows these are, the first one of ``parts``.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    row_count: int | None
    size_bytes: int
    broken: tuple[str, ...] = ()
    uncounted: Path | None = None
    part: Path | None = None
    parts: int = 1


def load_raw_rows(path: Path, limit: int = 50) -> RawRows:
    """Return the first rows of a JSON, JSONL, CSV or text file, or the files of a folder.

    Raises:
        FileUnusable: The file is missing or cannot be read.
        DatasetInvalid: It is empty, or of a kind that only a child can read.
    """
    kind = _KINDS.get(path.suffix.lower(), "json")
    try:
        if path.is_dir():
            if any(_KINDS.get(one.suffix.lower()) == "other" for one in path.rglob("*")):
                raise _leave_to_child(path)
            return _list_folder(path, limit)
        size_bytes = path.stat().st_size
        if kind == "other":
            raise _leave_to_child(path)
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        is_json = kind == "json"
        text = head.decode("utf-8-sig", "replace") if is_json else decode_beginning(head)
        is_whole = size_bytes <= _HEAD_BYTES
        if not text.strip():
            raise DatasetInvalid(f"{path.name} is empty.", "Choose a file with examples.")
        broken: list[str] = []
        is_array = is_json and text.lstrip()[:1] == "["
        objects = list(islice(_iter_objects(kind, text, path, is_whole, broken), _MOST_ROWS))
        has_lines = not is_array and kind not in ("csv", "tsv")
        count = None
        if is_whole and has_lines:
            count = count_lines(path)
        elif is_whole and len(objects) < _MOST_ROWS:
            count = len(objects)
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    if not objects:
        raise DatasetInvalid(*_describe_broken(path, broken))
    raw = _build(objects[:limit], count, size_bytes, tuple(broken))
    return replace(raw, uncounted=path) if has_lines and count is None else raw


def _leave_to_child(path: Path) -> DatasetInvalid:
    return DatasetInvalid(f"{path.name} is packed or in columns.", code=CHILD_ONLY)


def build_peeked(event: RowsPeeked) -> RawRows:
    """Return the rows that a child read of a file of another kind."""
    objects = [json.loads(row) for row in event.rows]
    return _build(objects, event.row_count, event.size_bytes, ())


def build_hub_rows(found: FirstRows) -> RawRows:
    """Return the rows that the hub shows of a data set."""
    ordered = [{name: row.get(name) for name in found.columns} or row for row in found.rows]
    return _build(ordered, None, 0, ())


def build_file_list(files: Sequence[HubFile]) -> RawRows:
    """Return names and sizes of files in place of rows."""
    rows = tuple((one.path, format_bytes(one.size_bytes)) for one in files)
    return RawRows(("file", "size"), rows, None, sum(one.size_bytes for one in files))


def load_shown_rows(source: str) -> RawRows:
    """Return the first rows of a source: of the file itself, or the first text table in a folder.

    Of a folder without one the files are listed.

    Raises:
        FileUnusable: A data set of the hub is not on this machine, or a file cannot be read.
        DatasetInvalid: As ``load_raw_rows``.
    """
    path = find_data_path(source, Path())
    if not path.is_dir():
        return load_raw_rows(path)
    found = sorted(one for one in path.rglob("*") if one.suffix.lower() in _SHOWN_SUFFIXES)
    if not found:
        return load_raw_rows(path)
    return replace(load_raw_rows(found[0]), part=found[0], parts=len(found))


def count_lines(path: Path, is_cancelled: Callable[[], bool] = bool) -> int | None:
    """Return how many lines with content a file has; None when cancelled.

    Raises:
        FileUnusable: The file can no longer be read.
    """
    count, tail = 0, b""
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                if is_cancelled():
                    return None
                lines = (tail + block).split(b"\n")
                tail = lines.pop()
                count += sum(1 for line in lines if line.strip())
    except OSError as error:
        raise get_file_error(path, error, "read") from error
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


def _iter_objects(
    kind: str, text: str, path: Path, is_whole: bool, broken: list[str]
) -> Iterable[Any]:
    """Return what the rows hold; what is wrong with others is added to ``broken``."""
    if kind in ("csv", "tsv"):
        return _iter_table(text, "\t" if kind == "tsv" else None)
    if kind == "text":
        return ({"text": line} for line in text.splitlines() if line.strip())
    if text.lstrip()[:1] == "[":
        return _iter_array(text, path)
    return _iter_lines(text, path, is_whole, broken)


def _iter_table(text: str, delimiter: str | None) -> Iterable[Any]:
    lines = text.splitlines(keepends=True)
    if delimiter is None:
        delimiter = max(",;\t", key=lambda sign: lines[0].count(sign))
    try:
        for row in csv.DictReader(lines, delimiter=delimiter):
            yield {str(name): value for name, value in row.items() if name is not None}
    except csv.Error:
        return


def _list_folder(path: Path, limit: int) -> RawRows:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    rows = tuple(
        (str(file.relative_to(path)), format_bytes(file.stat().st_size)) for file in files[:limit]
    )
    size_bytes = sum(file.stat().st_size for file in files)
    return RawRows(("file", "size"), rows, None, size_bytes)


def _iter_lines(text: str, path: Path, is_whole: bool, broken: list[str]) -> Iterable[Any]:
    lines = text.splitlines()
    if not is_whole and len(lines) > 1:
        lines.pop()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            place = f"{path.name}, line {number}, column {error.colno}"
            broken.append(f"{place} is not valid JSON: {error.msg}.")
        except (ValueError, RecursionError) as error:
            broken.append(f"{path.name}, line {number} is not valid JSON: {error}.")


def _describe_broken(path: Path, broken: list[str]) -> tuple[str, str]:
    """Return message and remedy for a file of which no row can be read."""
    message = broken[0] if broken else f"{path.name} holds no row."
    return message, (
        'Every line has to hold one example such as {"prompt": "…", "completion": "…"}. Mend the '
        "line or choose another file."
    )


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


def _build(
    objects: list[Any], row_count: int | None, size_bytes: int, broken: tuple[str, ...]
) -> RawRows:
    columns: dict[str, None] = {}
    for row in objects:
        columns |= dict.fromkeys(map(str, row)) if isinstance(row, Mapping) else {"row": None}
    rows = tuple(
        tuple(show_cell(row.get(name)) for name in columns)
        if isinstance(row, Mapping)
        else tuple(show_cell(row) if name == "row" else "" for name in columns)
        for row in objects
    )
    return RawRows(tuple(columns), rows, row_count, size_bytes, broken)
