"""Row lengths guessed from the size of the text in the files, without a tokenizer."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from studio.core.errors import StudioError
from studio.core.hub.resolve import find_data_path
from studio.core.memory.rows import RowLengths, assume_rows
from studio.core.recipe.schema import Recipe

_MOST_BYTES = 16_000_000
_MOST_ROWS = 20_000
_MOST_FILES = 50
_DELIMITED = (".csv", ".tsv")
_SUFFIXES = (".jsonl", ".ndjson", ".json", *_DELIMITED)
_DELIMITERS = (",", ";", "\t", "|")
_UNKNOWN_TOKENS = 2048
_TURN_TOKENS = 5
_CONVERSATIONS = ("messages", "conversations", "conversation")
_ANSWERS = ("output", "answer", "completion", "response", "target", "chosen")
_QUESTIONS = ("instruction", "input", "prompt", "question", "system", "context")
_TEXTS = ("text", "content")
_ASSISTANT = ("assistant", "gpt", "model", "bot")


def guess_rows(
    recipe: Recipe, base_folder: Path, vocabulary: int, context: int | None
) -> RowLengths:
    """Return the lengths of the training rows, guessed from the bytes of their texts.

    Of large files the beginning is read. Where no file can be read so (missing, another format)
    every row is taken to be as long as the recipe allows.
    """
    per_token = get_bytes_per_token(vocabulary)
    lengths: list[int] = []
    trained = total = 0.0
    rows = 0.0
    for source in recipe.data.active_train:
        try:
            path = find_data_path(source.source, base_folder, source.revision)
        except StudioError:  # the check of the recipe says so
            continue
        count = 0.0
        for file in _list_files(path):
            found, in_all = _read_rows(file)
            for row in found[: source.limit]:
                if isinstance(row, Mapping):
                    size, answer, turns = _measure(row, source.columns)
                    lengths.append(math.ceil(size / per_token) + _TURN_TOKENS * turns)
                    total += size
                    trained += answer
            count += in_all
        rows += min(count, source.limit or count) * source.weight
    if not lengths:
        return assume_longest(recipe, context)
    share = 1.0 if recipe.data.supervise == "everything" else trained / max(1.0, total)
    guess = RowLengths.of(lengths, share, is_guess=True)
    return RowLengths(guess.lengths, max(1, round(rows)), guess.mean_tokens, share, is_guess=True)


def assume_longest(recipe: Recipe, context: int | None) -> RowLengths:
    """Return rows as long as the recipe allows; ``context`` tokens are the most the model reads."""
    wish = recipe.data.max_tokens
    return assume_rows(min(context or _UNKNOWN_TOKENS, _UNKNOWN_TOKENS) if wish == "auto" else wish)


def get_bytes_per_token(vocabulary: int) -> float:
    """Return about how many bytes of text make a token: more with a larger vocabulary."""
    return min(4.2, max(1.0, 0.3 * math.log2(max(2, vocabulary)) - 0.9))


def _list_files(path: Path) -> list[Path]:
    """Return the files of a source that can be read here; of a folder those inside it."""
    if not path.is_dir():
        return [path]
    inside = (file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)
    return sorted(islice(inside, _MOST_FILES))


def _read_rows(path: Path) -> tuple[list[Any], float]:
    """Return rows from the beginning of a file, and how many it has in all, about."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            text = stream.read(_MOST_BYTES).decode("utf-8-sig", errors="replace")
    except OSError:  # the run itself says what is wrong with the file
        return [], 0.0
    is_cut = size > _MOST_BYTES
    kind = path.suffix.lower()
    if kind == ".json":
        rows = [] if is_cut else _parse_json(text)
        return rows[:_MOST_ROWS], float(len(rows))
    if kind in _DELIMITED:
        rows = list(islice(_iter_table(text), _MOST_ROWS))
    else:
        rows = list(islice(_iter_lines(text), _MOST_ROWS))
    if not is_cut and len(rows) < _MOST_ROWS:
        return rows, float(len(rows))
    lines = max(len(rows), text.count("\n"))
    return rows, lines * size / min(size, _MOST_BYTES)


def _parse_json(text: str) -> list[Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if isinstance(content, Mapping):
        content = next((v for v in content.values() if isinstance(v, list)), [content])
    return content if isinstance(content, list) else []


def _iter_table(text: str) -> Iterator[dict[str, str]]:
    head = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=head.count)
    try:
        for row in csv.DictReader(io.StringIO(text), delimiter=delimiter):
            yield {name: value for name, value in row.items() if isinstance(value, str)}
    except csv.Error:  # what was read up to here is enough
        return


def _iter_lines(text: str) -> Iterator[Any]:
    for line in text.split("\n"):
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            continue


def _measure(row: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[int, int, int]:
    for name in (columns.get("messages", ""), *_CONVERSATIONS):
        turns = row.get(name)
        if isinstance(turns, list):
            return _measure_turns(turns)
    named = {role: row[column] for role, column in columns.items() if column in row} or row
    answers = _sum_texts(named, _ANSWERS)
    questions = _sum_texts(named, _QUESTIONS)
    if answers or questions:
        return answers + questions, answers, 2
    size = _sum_texts(named, _TEXTS) or _sum_texts(named, tuple(named))
    return size, size, 1


def _measure_turns(turns: list[Any]) -> tuple[int, int, int]:
    total = trained = 0
    for turn in turns:
        if not isinstance(turn, Mapping):
            continue
        size = _get_size(turn.get("content", turn.get("value")))
        total += size
        if turn.get("role", turn.get("from")) in _ASSISTANT:
            trained += size
    return total, trained, len(turns)


def _sum_texts(row: Mapping[str, Any], names: tuple[str, ...]) -> int:
    return sum(_get_size(row.get(name)) for name in names)


def _get_size(value: object) -> int:
    return len(value.encode("utf-8", "replace")) if isinstance(value, str) else 0
