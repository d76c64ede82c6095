"""The recipe's ``layers`` setting as a set of layer numbers."""

from __future__ import annotations

import re

from studio.core.errors import RecipeInvalid

_NUMBERED = re.compile(r"(?:^|.*?\.)[A-Za-z_]\w*\.(?P<index>\d+)\.(?P<inner>.+)$")
_RANGE = re.compile(r"^\s*(\d+)\s*(?:-\s*(\d+)\s*)?$")


def split_layer(name: str) -> tuple[int | None, str]:
    """Returns the number of the layer that module ``name`` is in, and its name inside that layer.

    The first number in the name counts: experts inside a layer have numbers of their own. Outside
    of numbered layers the answer is ``(None, name)``.
    """
    match = _NUMBERED.match(name)
    return (int(match["index"]), match["inner"]) if match else (None, name)


def select_layers(setting: str | tuple[int, ...], layer_count: int) -> frozenset[int]:
    """Returns the layer numbers that ``setting`` names, out of ``layer_count``.

    ``setting`` is ``all``, a text such as ``8-23`` or ``0,2,5-7``, or numbers.

    Raises:
        RecipeInvalid: The text cannot be read, or a layer does not exist.
    """
    if setting == "all":
        return frozenset(range(layer_count))
    chosen = _read(setting) if isinstance(setting, str) else frozenset(setting)
    missing = sorted(chosen - frozenset(range(layer_count)))
    if missing:
        raise RecipeInvalid(
            f"adapter.layers: layer {missing[0]} does not exist, the model has {layer_count} "
            "layers counted from 0.",
            f"Choose numbers from 0 to {layer_count - 1}, or all."
            if layer_count
            else "Write all: this model has no numbered layers.",
        )
    if not chosen:
        raise RecipeInvalid("adapter.layers: no layer is chosen.", "Choose at least one, or all.")
    return chosen


def _read(setting: str) -> frozenset[int]:
    chosen: set[int] = set()
    for part in setting.split(","):
        match = _RANGE.match(part)
        first, last = (match[1], match[2] or match[1]) if match else ("1", "0")
        # Nine digits are more layers than there are; longer numbers would only burn memory.
        if int(first) > int(last) or len(last) > 9 or int(last) - int(first) > 100_000:
            raise RecipeInvalid(
                f"adapter.layers: {setting!r} cannot be read as layer numbers.",
                "Write all, a range such as 8-23, or numbers and ranges such as 0,2,5-7.",
            )
        chosen.update(range(int(first), int(last) + 1))
    return frozenset(chosen)
