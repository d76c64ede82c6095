"""How strongly an adapter counts in different layers of a mix."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from pydantic import BaseModel, ConfigDict

from studio.core.errors import RecipeInvalid
from studio.core.weights.matching import get_part, parse_layers, split_layer

GainPart = Literal["all", "attention", "mlp"]


class LayerGain(BaseModel):
    """A factor for the layers named as ``8-23`` or ``0,2,5-7`` (or ``all``), or a part of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    layers: str = "all"
    part: GainPart = "all"
    factor: float = 1.0

    def covers(self, module: str) -> bool:
        """Returns whether a module lies in these layers and this part.

        Raises:
            RecipeInvalid: ``layers`` cannot be read.
        """
        chosen = _parse(self.layers)
        is_in_layers = chosen is None or split_layer(module)[0] in chosen
        return is_in_layers and self.part in ("all", get_part(module))


def get_gain(gains: Sequence[LayerGain], module: str) -> float:
    """Returns the product of all factors that cover a module."""
    factor = 1.0
    for gain in gains:
        if gain.covers(module):
            factor *= gain.factor
    return factor


def parse_gain(text: str) -> LayerGain:
    """Returns the gain written as ``0-11=0.5``, ``attention=0`` or ``0-11:mlp=0.5``.

    Raises:
        RecipeInvalid: The text is not of that form.
    """
    place, mark, number = text.partition("=")
    layers, _, part = place.strip().partition(":")
    if layers in ("attention", "mlp"):
        layers, part = "all", layers
    try:
        if not mark:
            raise ValueError("no factor")
        gain = LayerGain.model_validate(
            {"layers": layers or "all", "part": part or "all", "factor": float(number)}
        )
    except ValueError as error:
        raise RecipeInvalid(
            f"{text!r} is no strength of layers.",
            "Write it as 0-11=0.5, attention=0 or 0-11:mlp=0.5.",
        ) from error
    _parse(gain.layers)
    return gain


def divide_layers(layer_count: int) -> dict[str, str]:
    """Returns the layers of a model in three groups of about equal size, by their names."""
    first, second = round(layer_count / 3), round(2 * layer_count / 3)
    ends = {"early": (0, first), "middle": (first, second), "late": (second, layer_count)}
    return {name: f"{low}-{high - 1}" for name, (low, high) in ends.items() if low < high}


@lru_cache(maxsize=256)
def _parse(layers: str) -> frozenset[int] | None:
    return parse_layers(layers)
