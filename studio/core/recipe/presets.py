"""Presets: a few settings under one name, for people who do not want to think about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import RecipeInvalid
from studio.core.files import get_file_error
from studio.core.recipe.yaml_text import parse_yaml
from studio.core.resources import resource_folder


@dataclass(frozen=True)
class Preset:
    """A name, one sentence for whom it is, and the settings it changes, by path."""

    key: str
    name: str
    description: str
    values: Mapping[str, Any]


def load_presets(folder: Path | None = None) -> list[Preset]:
    """Return the presets that come with the program (or lie in ``folder``), in their own order.

    Raises:
        RecipeInvalid: A preset file is not valid.
        FileUnusable: The folder cannot be read.
    """
    place = folder or resource_folder() / "presets"
    try:
        texts = {path: path.read_text("utf-8") for path in sorted(place.glob("*.yaml"))}
    except OSError as error:
        raise get_file_error(place, error, "read") from error
    return [_parse_preset(path, text) for path, text in texts.items()]


def _parse_preset(path: Path, text: str) -> Preset:
    raw = parse_yaml(text, path.name)
    match raw:
        case {"name": str(name), "description": str(description), "values": dict(values)}:
            return Preset(path.stem.partition("-")[2] or path.stem, name, description, values)
    raise RecipeInvalid(
        f"{path.name} is not a preset: it needs name, description and values.",
        "Install the program again, or remove the file.",
    )
