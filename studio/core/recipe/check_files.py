"""Whether the files and folders that a recipe names are there and what they should be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import StudioError
from studio.core.hub.cache import find_hub_snapshot
from studio.core.hub.resolve import find_data_path
from studio.core.recipe.check_quantisation import iter_stored_problems
from studio.core.recipe.problem import Problem
from studio.core.recipe.schema import AdapterSettings, Recipe
from studio.core.weights.folder import check_model_folder
from studio.core.weights.header import read_json
from studio.core.weights.layers import MAX_CONFIG_BYTES
from studio.core.weights.stored import get_stored_kind

_MAX_ADAPTER_CONFIG_BYTES = 1_000_000


def iter_file_problems(recipe: Recipe, base_folder: Path) -> Iterator[Problem]:
    """Yield a problem for each file or folder of the recipe that is missing or unusable.

    ``base_folder`` is where relative paths start.
    """
    yield from _check_model(recipe, base_folder)
    sources = [(f"data.train[{i}]", item) for i, item in enumerate(recipe.data.train)]
    if isinstance(recipe.data.validation, tuple):
        listed = enumerate(recipe.data.validation)
        sources += [(f"data.validation[{i}]", item) for i, item in listed]
    for path, item in sources:
        try:
            source = find_data_path(item.source, base_folder, item.revision)
        except StudioError as error:
            yield Problem(f"{path}.source", error.message, error.remedy)
            continue
        if not source.is_dir():  # a folder of files is a data set as well
            yield from _check_file(f"{path}.source", source)
    if recipe.data.template not in ("auto", "plain"):
        yield from _check_file("data.template", resolve_path(recipe.data.template, base_folder))
    if recipe.adapter.resume_from is not None:
        folder = resolve_path(recipe.adapter.resume_from, base_folder)
        yield from _check_adapter(recipe.adapter, folder)


def resolve_path(text: str, base_folder: Path) -> Path:
    """Return the path that a recipe means; relative ones start at ``base_folder``."""
    return base_folder / Path(text).expanduser()


def _check_model(recipe: Recipe, base_folder: Path) -> Iterator[Problem]:
    folder = resolve_path(recipe.base.model, base_folder)
    if not folder.exists():
        snapshot = find_hub_snapshot(recipe.base.model, recipe.base.revision)
        if snapshot is None:
            yield Problem(
                "base.model",
                f"there is no folder {folder}, and no model {recipe.base.model} in this machine's "
                "cache.",
                "Check the name, choose the folder of a model, or download it (Model page, or "
                f"lora-studio download {recipe.base.model}).",
            )
            return
        folder = snapshot
    try:
        check_model_folder(folder)
        stored = get_stored_kind(read_json(folder / "config.json", MAX_CONFIG_BYTES))
    except StudioError as error:
        yield Problem("base.model", error.message, error.remedy)
        return
    yield from iter_stored_problems(recipe, stored)


def _check_file(path: str, file: Path) -> Iterator[Problem]:
    if file.is_dir():
        yield Problem(path, f"{file} is a folder.", "Choose a file in it.")
    elif not file.exists():
        yield Problem(path, f"{file} does not exist.", "Check the path, or choose another file.")
    elif file.stat().st_size == 0:
        yield Problem(path, f"{file} is empty.", "Choose a file with one example per row.")


def _check_adapter(adapter: AdapterSettings, folder: Path) -> Iterator[Problem]:
    place = "adapter.resume_from"
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            yield Problem(
                place,
                f"{folder} is no adapter folder: {name} is missing.",
                "Choose a folder that holds adapter_config.json and adapter_model.safetensors.",
            )
            return
    try:
        config = read_json(folder / "adapter_config.json", _MAX_ADAPTER_CONFIG_BYTES)
    except StudioError as error:
        yield Problem(place, error.message, error.remedy)
        return
    saved = config.get("r")
    if isinstance(saved, int) and saved != adapter.rank:
        yield Problem(
            "adapter.rank",
            f"the adapter that is continued has rank {saved}, which stays; {adapter.rank} is not "
            "used.",
            f"Set the rank to {saved}, or begin a new adapter.",
            "note",
        )
