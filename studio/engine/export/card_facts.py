"""What a model card says about the base and the run, collected from files and never guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from studio.core.errors import StudioError
from studio.core.jobs.orders import ExportOrder
from studio.core.paths import Home
from studio.core.recipe.load import load_recipe
from studio.core.recipe.schema import Recipe
from studio.core.runs.exporting import find_run
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore
from studio.core.weights.adapter_file import read_seen_base
from studio.engine.export.certificate import Certificate

CARD_NAME = "README.md"
HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$")
_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)/snapshots/")
_HEADER = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)
_LARGEST_CARD_BYTES = 1 << 20
_LICENCES = {
    "Apache License": "apache-2.0",
    "MIT License": "mit",
    "GNU GENERAL PUBLIC LICENSE": "gpl-3.0",
    "Mozilla Public License": "mpl-2.0",
}
_LICENCE_KEYS = ("license", "license_name", "license_link")


@dataclass(frozen=True)
class CardFacts:
    """All that a card says.

    ``base`` is the base's name for people, ``hub_base`` its name on the hub, None where it has none
    that is known. ``licence`` are the licence fields of the base's own card. ``keeps_zeros``: the
    adapter leaves the zeros of a pruned base alone, which other tools do not.
    """

    order: ExportOrder
    base: str
    hub_base: str | None
    licence: Mapping[str, str]
    certificate: Certificate
    files: Sequence[str]
    recipe: Recipe | None = None
    record: RunRecord | None = None
    keeps_zeros: bool = False


def collect_facts(
    order: ExportOrder,
    base_name: str,
    base: Path,
    certificate: Certificate,
    files: Sequence[str],
) -> CardFacts:
    """Returns what is known about an export; what is not known is left out of the card."""
    layout = find_run(Path(order.adapter))
    recipe = record = None
    if layout is not None:
        record = RunStore(Home(layout.folder.parent)).load(layout)
        try:
            recipe = load_recipe(layout.recipe)
        except StudioError:
            recipe = None  # an adapter that was imported without one
    hub_base = find_hub_name(base_name, base)
    return CardFacts(
        order=order,
        base=hub_base or base.name,
        hub_base=hub_base,
        licence=read_licence(base),
        certificate=certificate,
        files=files,
        recipe=recipe,
        record=record,
        keeps_zeros=read_seen_base(Path(order.adapter)).keeps_zeros,
    )


def find_hub_name(name: str, folder: Path) -> str | None:
    """Returns the base's name on the hub, from its name or its place in the hub's cache."""
    cached = _CACHED.search(f"{folder.as_posix()}/")
    if cached is not None:
        return f"{cached[1]}/{cached[2]}"
    return name if HUB_NAME.match(name) and not Path(name).exists() else None


def read_licence(base: Path) -> dict[str, str]:
    """Returns the licence of the base as its own card names it, else as its licence file begins."""
    header = read_header(base / CARD_NAME)
    found = {key: str(header[key]) for key in _LICENCE_KEYS if isinstance(header.get(key), str)}
    if found:
        return found
    for path in sorted(base.glob("[Ll][Ii][Cc][Ee][Nn][CcSs][Ee]*")):
        if path.is_file():
            with path.open("rb") as stream:
                start = stream.read(400).decode(errors="replace")
            for words, name in _LICENCES.items():
                if words.lower() in start.lower():
                    return {"license": name}
            return {"license": "other", "license_name": path.name}
    return {}


def read_header(path: Path) -> dict[str, Any]:
    """Returns the YAML header of a card; empty where there is none that can be read."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_LARGEST_CARD_BYTES).decode(errors="replace")
    except OSError:
        return {}
    match = _HEADER.match(text)
    try:
        header = yaml.safe_load(match[1]) if match else {}
    except yaml.YAMLError:
        return {}
    return header if isinstance(header, dict) else {}
