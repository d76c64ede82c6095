"""What a run was made from: hashes of base, tokenizer and data, versions and seed."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

import studio
from studio.core.errors import AdapterUnusable, DatasetInvalid, FileUnusable, ModelUnusable
from studio.core.files import get_file_error, write_json_atomically
from studio.core.json_text import parse_json
from studio.core.runs.layout import RunLayout
from studio.core.weights.adapter_file import read_seen_base
from studio.engine.data.prepare import PreparedData
from studio.engine.data.streaming import Preparation, StreamedRows
from studio.engine.models.reference import ModelReference, hash_file, hash_model

FORMAT_VERSION = 1


def get_versions() -> dict[str, str]:
    """Returns the versions of everything that the numbers of a run depend on."""
    return {
        "studio": studio.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "transformers": str(transformers.__version__),
        "system": platform.platform(),
    }


def build_manifest(
    reference: ModelReference, data: PreparedData | StreamedRows, seed: int
) -> dict[str, Any]:
    """Returns the manifest of a run that starts now.

    Raises:
        FileUnusable: A file of the model or the data cannot be read.
    """
    paths = sorted({path for finding in data.findings for path in finding.files})
    return {
        "format": FORMAT_VERSION,
        "base": {
            "model": reference.name,
            "folder": str(reference.folder),
            "revision": reference.revision,
            "files": hash_model(reference.folder),
        },
        "data": {str(path): hash_file(path) for path in paths},
        "template": data.template,
        "preparation": data.preparation,
        "seed": seed,
        "versions": get_versions(),
    }


def save_or_check_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest of a new run, or compares it with what an earlier attempt wrote.

    Raises:
        ModelUnusable: The base model is another one than when the run started.
        DatasetInvalid: The data is other data than when the run started.
        FileUnusable: The manifest cannot be read or written.
    """
    if not path.exists():
        write_json_atomically(path, manifest)
        return
    earlier = _load(path)
    changed = _find_changed(earlier["base"]["files"], manifest["base"]["files"])
    if changed:
        raise ModelUnusable(
            f"The base model in {manifest['base']['folder']} has changed since this run was "
            f"started ({', '.join(changed[:3])}), so the run cannot go on exactly.",
            "Put the original files back, or start a new run.",
            code="base_changed",
        )
    changed = _find_changed(earlier["data"], manifest["data"])
    if changed:
        raise DatasetInvalid(
            f"The data has changed since this run was started ({', '.join(changed[:3])}), so the "
            "run cannot go on exactly.",
            "Put the original file back, or start a new run.",
            code="data_changed",
        )


def read_preparation(path: Path) -> Preparation | None:
    """Returns how the data of an earlier attempt was prepared; None for a run that is new.

    Raises:
        FileUnusable: The manifest cannot be read.
    """
    if not path.exists():
        return None
    # Runs of earlier versions knew no other way.
    return "streamed" if _load(path)["preparation"] == "streamed" else "whole"


def read_recipe(path: Path) -> dict[str, Any] | None:
    """Returns the plain recipe that the last attempt trained with; None where nobody noted it.

    Raises:
        FileUnusable: The manifest cannot be read.
    """
    recipe = _load(path)["recipe"]
    return recipe if isinstance(recipe, dict) else None


def write_recipe(path: Path, recipe: dict[str, Any]) -> None:
    """Notes the plain recipe that this attempt trains with in the run's manifest.

    Raises:
        FileUnusable: The manifest cannot be read or written.
    """
    _load(path)
    write_json_atomically(path, parse_json(path.read_text(encoding="utf-8")) | {"recipe": recipe})


def check_trained_on(adapter: Path, model: Path) -> None:
    """Returns quietly unless an adapter was trained on other weights than ``model`` has.

    The adapter's own file says on which, or else the run it lies in; adapters of other tools do
    not. Files of other names (another division into files) say nothing.

    Raises:
        AdapterUnusable: A file of weights has another content.
        ModelUnusable: The adapter's own file is broken.
        FileUnusable: The manifest or a file of weights cannot be read.
    """
    hashes = read_seen_base(adapter).hashes or _read_hashes_of_run(adapter)
    for name, value in hashes.items():
        path = model / name
        if path.name == name and path.is_file() and hash_file(path) != value:
            raise AdapterUnusable(
                f"The adapter in {adapter} was trained on other weights: {name} in {model} has "
                "another content than the base had then.",
                "Choose the base model it was trained on.",
                code="base_differs",
            )


def check_all_trained_on(adapters: Iterable[str], model: Path) -> None:
    """Returns quietly unless one of the ``adapters`` (folders) was trained on other weights.

    Raises:
        AdapterUnusable: A file of weights has another content than when it was trained.
        FileUnusable: A manifest or a file of weights cannot be read.
    """
    for adapter in adapters:
        check_trained_on(Path(adapter), model)


def get_weight_hashes(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Returns the hashes of the base's files of weights, by name, that a manifest holds."""
    files = manifest["base"]["files"]
    return {name: value for name, value in files.items() if name.endswith(".safetensors")}


def _read_hashes_of_run(adapter: Path) -> dict[str, str]:
    """Returns what the run that made an adapter says of its base's weights; empty without one."""
    run = next((RunLayout(place) for place in adapter.parents[:2] if _made(place, adapter)), None)
    return {} if run is None else get_weight_hashes(_load(run.manifest))


def _made(place: Path, adapter: Path) -> bool:
    """Returns whether ``place`` is the folder of the run that made ``adapter``."""
    run = RunLayout(place)
    return run.manifest.is_file() and (adapter == run.adapter or adapter.parent == run.checkpoints)


def _load(path: Path) -> dict[str, Any]:
    try:
        manifest = parse_json(path.read_text(encoding="utf-8"))
        return {
            "base": {"files": dict(manifest["base"]["files"])},
            "data": dict(manifest["data"]),
            "preparation": manifest.get("preparation"),
            "recipe": manifest.get("recipe"),
        }
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FileUnusable(
            f"{path} is damaged: {error}.",
            "Copy it back from elsewhere, or delete this file to go on without comparing base and "
            "data with those that the run was started with.",
        ) from error


def _find_changed(earlier: dict[str, str], now: dict[str, str]) -> list[str]:
    names = sorted({*earlier, *now})
    return [name for name in names if earlier.get(name) != now.get(name)]
