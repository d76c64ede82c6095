"""One event to one JSON line and back; the type stands first so that reading is fast."""

from __future__ import annotations

import json
import math

from pydantic_core import from_json

from studio.core.events.types import Event

_PREFIX = b'{"event":"'


def encode(event: Event) -> str:
    """Returns the event as one line of JSON without the line break.

    Numbers that JSON does not know are written as the strings ``NaN``, ``Infinity`` and
    ``-Infinity``, so that every JSON reader accepts the journal; ``decode`` turns them back.
    """
    fields = {"event": type(event).__name__, **event.model_dump()}
    try:
        return _dump(fields)
    except ValueError:
        return _dump(_name_odd_numbers(fields))


def decode(line: str | bytes) -> Event | None:
    """Returns the event of one line, or None for a type that this version does not know.

    Raises:
        ValueError: The line is not JSON, names no type, or its fields do not fit the type.
    """
    content = line.encode() if isinstance(line, str) else line
    if content.startswith(_PREFIX):
        end = content.find(b'"', len(_PREFIX))
        kind = Event.kinds.get(content[len(_PREFIX) : end].decode())
        if kind is not None:
            # One pass in native code: the whole line is parsed and checked, "event" is ignored.
            return kind.model_validate_json(content)
    return _decode_slowly(content)


def _decode_slowly(content: bytes) -> Event | None:
    fields = from_json(content)
    name = fields.get("event") if isinstance(fields, dict) else None
    if not isinstance(name, str):
        raise ValueError("the line names no event type")
    kind = Event.kinds.get(name)
    return None if kind is None else kind.model_validate_json(content)


def _dump(fields: object) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _name_odd_numbers(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _name_odd_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_name_odd_numbers(item) for item in value]
    return value
