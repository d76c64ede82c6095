"""A recipe's base model, as far as a forecast has to know it: headers, or config.json alone."""

from __future__ import annotations

import os
from pathlib import Path

from studio.core.errors import ModelUnusable
from studio.core.hub.cache import find_hub_snapshot
from studio.core.hub.layers import HubLayers
from studio.core.memory.anatomy import Anatomy, read_anatomy
from studio.core.network.fetch import Cancelled
from studio.core.recipe.schema import Recipe
from studio.core.weights.header import INDEX_FILE, SINGLE_FILE, read_json
from studio.core.weights.layers import MAX_CONFIG_BYTES, build_layers, load_layers
from studio.core.weights.shapes import build_tensors


def load_anatomy(
    recipe: Recipe,
    base_folder: Path,
    hub: HubLayers | None = None,
    *,
    is_cancelled: Cancelled = lambda: False,
) -> Anatomy:
    """Return the anatomy of the recipe's base; no weights are read, and none need be there.

    A folder with nothing but ``config.json`` is enough where the family is known. With ``hub``
    a model that is not on this machine is read there, headers alone.

    Raises:
        ModelUnusable: There is no such model on this machine, or its files are broken.
        FileUnusable: A file cannot be read.
        NetworkFailed: The hub was not reached, or refused.
    """
    try:
        folder = find_folder(recipe, base_folder)
    except ModelUnusable:
        base = recipe.base
        if hub is None or not hub.can_ask(base.model):
            raise
        return read_anatomy(*hub.load(base.model, base.revision, is_cancelled=is_cancelled))
    return read_model_folder(folder)


def read_model_folder(folder: Path) -> Anatomy:
    """Return the anatomy of the model in ``folder``.

    Raises:
        ModelUnusable: Its files are broken, or its sizes cannot be told.
        FileUnusable: A file cannot be read.
    """
    config = read_json(folder / "config.json", MAX_CONFIG_BYTES)
    if any((folder / name).is_file() for name in (SINGLE_FILE, INDEX_FILE)):
        return read_anatomy(load_layers(folder), config)
    return read_anatomy(build_layers(folder, config, build_tensors(config)), config)


def find_folder(recipe: Recipe, base_folder: Path) -> Path:
    """Return the folder of the recipe's base: a path, or a hub model in the cache.

    Raises:
        ModelUnusable: It is not on this machine.
    """
    name = recipe.base.model
    folder = base_folder / Path(os.path.expandvars(name)).expanduser()
    if folder.is_dir():
        return folder.resolve()
    snapshot = find_hub_snapshot(name, recipe.base.revision)
    if snapshot is None:
        raise ModelUnusable(
            f"The model {name} is not on this machine, so its size is not known.",
            "Choose a model folder (one with only config.json in it is enough for a forecast), or "
            "go online: then its sizes are read from the hub.",
        )
    return snapshot
