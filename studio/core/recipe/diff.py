"""What two recipes have not in common, setting by setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from studio.core.recipe.fields import get_field_table
from studio.core.recipe.schema import Recipe


@dataclass(frozen=True)
class Change:
    """One setting that differs; values are plain (lists and mappings for composed settings)."""

    path: str
    before: Any
    after: Any


def diff_recipes(before: Recipe, after: Recipe) -> list[Change]:
    """Return the settings whose values differ, in the order of the file."""
    first = dict(_iter_settings(before.model_dump(mode="json"), ""))
    second = dict(_iter_settings(after.model_dump(mode="json"), ""))
    return [
        Change(path, first.get(path), second.get(path))
        for path in get_field_table()
        if first.get(path) != second.get(path)
    ]


def _iter_settings(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """Yield every setting with its plain value; the entries of a list are one value."""
    table = get_field_table()
    for name, inner in value.items():
        inner_path = f"{path}.{name}" if path else name
        if inner_path in table:
            yield inner_path, inner
        elif isinstance(inner, Mapping):
            yield from _iter_settings(inner, inner_path)
