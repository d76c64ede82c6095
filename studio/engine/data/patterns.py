"""Texts with column names in braces, such as ``{title}: {body}``, that several columns fill."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from studio.engine.data.turns import RowInvalid

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


def is_pattern(text: str, names: Collection[str]) -> bool:
    """Return whether a text is to be filled in, rather than the name of a column itself."""
    return text not in names and any(match.group(1) for match in _PLACE.finditer(text))


def columns_of(pattern: str) -> list[str]:
    """Return the columns that a pattern names, in order and each once."""
    found = (match.group(1) for match in _PLACE.finditer(pattern))
    return list(dict.fromkeys(name.strip() for name in found if name))


def fill(pattern: str, values: Mapping[str, Any]) -> str:
    """Return the pattern with the row's values in it; doubled braces stand for single ones.

    Numbers and lists are written as JSON, missing values (null) as nothing.

    Raises:
        RowInvalid: The row lacks one of the columns.
    """

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return match.group(0)[0]
        if name.strip() not in values:
            raise RowInvalid(f"the column {name.strip()!r} of the pattern is missing")
        value = values[name.strip()]
        if value is None:
            return ""
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return _PLACE.sub(replace, pattern)
