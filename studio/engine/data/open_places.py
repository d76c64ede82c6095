"""Places in rows that nobody filled in, such as ``{{name}}``: found, named, filled on request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from studio.engine.data.conversation import Conversation, Record, RunningText, Turn

_PLACE = re.compile(r"\{\{ ?([A-Za-z][\w .-]{0,40}?) ?\}\}")
_AROUND = 48


def find_places(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the places in some texts, each once, in order."""
    found = (match.group(1) for text in texts for match in _PLACE.finditer(text))
    return tuple(dict.fromkeys(found))


def holds_place(text: str) -> bool:
    """Return whether a text has a place that nobody filled in."""
    return "{{" in text and _PLACE.search(text) is not None


def quote_place(texts: Iterable[str], name: str) -> str:
    """Return a few words around the first place of that name, empty where there is none."""
    for text in texts:
        for match in _PLACE.finditer(text):
            if match.group(1) == name:
                first, behind = max(0, match.start() - _AROUND), match.end() + _AROUND
                words = " ".join(text[first:behind].split())
                before, after = "…" * (first > 0), "…" * (behind < len(text))
                return f"{before}{words}{after}"
    return ""


def list_texts(record: Record) -> list[str]:
    """Return what is said in a record; token rows say nothing in words."""
    if isinstance(record, RunningText):
        return [record.text]
    if isinstance(record, Conversation):
        return [turn.content for turn in record.turns if turn.content]
    return []


def fill_places(record: Record, words: Mapping[str, str]) -> Record:
    """Return the record with ``words`` at the places of their names; the others stay open.

    Places in thoughts and in calls of tools are filled too. ``filled`` of what is returned names
    the places that were.
    """
    found: dict[str, None] = {}

    def put(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in words:
            return match.group(0)
        found[name] = None
        return words[name]

    def write(text: str) -> str:
        return _PLACE.sub(put, text) if "{{" in text else text

    if isinstance(record, RunningText):
        text = write(record.text)
        return replace(record, text=text, filled=tuple(found)) if found else record
    if isinstance(record, Conversation):
        turns = tuple(_fill_turn(turn, write) for turn in record.turns)
        return replace(record, turns=turns, filled=tuple(found)) if found else record
    return record


def _fill_turn(turn: Turn, write: Callable[[str], str]) -> Turn:
    content = None if turn.content is None else write(turn.content)
    return replace(
        turn, content=content, extra={key: _walk(one, write) for key, one in turn.extra.items()}
    )


def _walk(value: Any, write: Callable[[str], str]) -> Any:
    """Return a value of JSON with all its texts written anew."""
    if isinstance(value, str):
        return write(value)
    if isinstance(value, Mapping):
        return {key: _walk(one, write) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_walk(one, write) for one in value]
    return value
