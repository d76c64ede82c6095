"""Tokens that are cut out of a text before it is divided into pieces, such as the end of a turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_STRICT = ("single_word", "lstrip", "rstrip")


class Marks(NamedTuple):
    """Tokens to cut out, and those for which the twin does not know where to cut."""

    numbers: dict[str, int]
    unsure: tuple[str, ...]


def read_marks(added: Sequence[Mapping[str, Any]], *, is_normalized: bool = False) -> Marks:
    """Return the marks of a tokenizer.

    HF takes the longest of several that begin at the same place, and cuts some out before others;
    the twin takes any. So those that may overlap are unsure, and those with rules about their
    neighbours.

    Args:
        added: The ``added_tokens`` of a tokenizer.json.
        is_normalized: Whether the tokenizer normalizes what it reads, and some marks with it.
    """
    numbers = {one["content"]: int(one["id"]) for one in added if one["content"]}
    unsure = [one["content"] for one in added if any(one.get(name) for name in _STRICT)]
    if is_normalized:
        unsure += [name for name in numbers if not name.isascii()]
    every = "\0".join(numbers)
    starts = {name[:end] for name in numbers for end in range(1, len(name))}
    for name in numbers:
        ends = (name[place:] for place in range(1, len(name)))
        if every.count(name) > 1 or any(end in starts for end in ends):
            unsure.append(name)
    return Marks(numbers, _without_longer(unsure))


def _without_longer(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that contain no other: a text without these has none of the rest."""
    kept: list[str] = []
    for name in sorted(set(names), key=lambda one: (len(one), one)):
        if not any(one in name for one in kept):
            kept.append(name)
    return tuple(kept)
