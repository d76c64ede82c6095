"""Recipes, cards and models for the tests of forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.core.memory.anatomy import Anatomy, read_anatomy
from studio.core.memory.card import DeviceSpec
from studio.core.recipe.schema import Recipe
from studio.core.weights.layers import build_layers
from studio.core.weights.shapes import build_tensors

GB = 10**9
GIB = 1 << 30


def build_card(gib: float) -> DeviceSpec:
    """A recent card on which this much is free."""
    return DeviceSpec("card", "cuda", int(gib * GIB), int(gib * GIB), True, 80e12)


def build_cpu(gib: float) -> DeviceSpec:
    return DeviceSpec("processor", "cpu", int(gib * GIB), int(gib * GIB), False, 50e9)


def build_recipe(**settings: Any) -> Recipe:
    """A recipe with settings named ``section__key``; nothing is refused as not available yet."""
    raw: dict[str, Any] = {"base": {"model": "m"}, "data": {"train": [{"source": "d.jsonl"}]}}
    for name, value in settings.items():
        section, _, key = name.partition("__")
        raw.setdefault(section, {})[key] = value
    return Recipe.model_validate(raw)


def build_anatomy(config: dict[str, Any]) -> Anatomy:
    return read_anatomy(build_layers(Path(), config, build_tensors(config)), config)
