"""Settings as plain JSON values, whatever hands or programs wrote them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from studio.core.recipe.fields import get_section_paths
from studio.core.recipe.problem import Problem


def get_plain(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return a copy made of JSON values only, and a problem for each value that has none.

    A group without settings becomes an empty one, and a whole number written as ``2e3`` an integer.
    """
    problems: list[Problem] = []
    plain = {str(key): _convert(value, str(key), problems) for key, value in raw.items()}
    for section in get_section_paths() & plain.keys():
        if plain[section] is None:  # a heading whose lines are all commented out
            plain[section] = {}
    adapter = plain.get("adapter")
    if isinstance(adapter, dict) and type(adapter.get("layers")) is int:
        adapter["layers"] = [adapter["layers"]]
    return plain, problems


def _convert(value: Any, path: str, problems: list[Problem]) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): _convert(inner, f"{path}.{key}", problems) for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_convert(inner, f"{path}[{index}]", problems) for index, inner in enumerate(value)]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, str) and _is_encodable(value):
        return value
    problems.append(Problem(path, _explain(value)))
    return None


def _explain(value: Any) -> str:
    if isinstance(value, float):
        return f"must be a finite number, not {value}."
    if isinstance(value, str):
        return "holds characters that cannot be saved."
    return f"must be text, a number or a list, not {value!r:.60}."


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
