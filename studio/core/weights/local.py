"""The models already on this machine: the hub's cache, LM Studio, the user's own folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.core.errors import StudioError
from studio.core.hub.cache import MAX_FOLDERS, iter_snapshots, list_folders
from studio.core.programs.lm_studio import get_models_folders
from studio.core.weights.folder import check_model_folder, list_names
from studio.core.weights.header import read_json
from studio.core.weights.layers import CAUSAL, MAX_CONFIG_BYTES, load_layers
from studio.core.weights.stored import StoredKind

MAX_MODELS = 500
Place = Literal["hub_cache", "lm_studio", "folder"]

_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")


@dataclass(frozen=True)
class FoundModel:
    """A model on this machine. ``problem`` and ``remedy`` say why it cannot be used, if so.

    ``name`` is what the user knows it by; ``reference`` is what a recipe's ``base.model`` holds;
    ``stored`` says whether its linear layers are in few bits already.
    """

    name: str
    reference: str
    folder: Path
    place: Place
    architecture: str = ""
    parameters: int = 0
    size_bytes: int = 0
    stored: StoredKind = "none"
    problem: str = ""
    remedy: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether an adapter can be trained on it."""
        return not self.problem


def find_models(folders: Iterable[Path] = ()) -> list[FoundModel]:
    """Return the models on this machine, usable ones first; slow disks make it slow.

    ``folders`` are places the user added: a model folder, or a folder of model folders (two levels
    deep). The number of folders that are looked into is bounded.
    """
    found: dict[Path, FoundModel] = {}
    for name, reference, folder, place in _iter_places(folders):
        key = folder.resolve()
        if key not in found:
            found[key] = describe_model(name, reference, folder, place)
        if len(found) >= MAX_MODELS:
            break
    return sorted(found.values(), key=lambda model: (not model.is_usable, model.name.lower()))


def describe_model(name: str, reference: str, folder: Path, place: Place) -> FoundModel:
    """Return what can be said of the model in ``folder`` without loading it."""
    try:
        check_model_folder(folder)
        layers = load_layers(folder)
    except StudioError as error:
        return FoundModel(
            name,
            reference,
            folder,
            place,
            architecture=_read_architecture(folder),
            size_bytes=_sum_weights(folder),
            problem=error.message,
            remedy=error.remedy,
        )
    writes_text = not layers.architecture or layers.architecture.endswith(CAUSAL)
    return FoundModel(
        name,
        reference,
        folder,
        place,
        architecture=layers.architecture or layers.model_type,
        parameters=layers.parameters,
        size_bytes=layers.size_bytes,
        stored=layers.stored,
        problem="" if writes_text else f"{layers.architecture} is not a model that writes text.",
        remedy="" if writes_text else "Choose a model whose kind ends in ForCausalLM.",
    )


def _iter_places(folders: Iterable[Path]) -> Iterator[tuple[str, str, Path, Place]]:
    for folder in folders:
        for path in _iter_model_folders(folder, depth=2):
            yield path.name, str(path), path, "folder"
    for name, snapshot in iter_snapshots("model"):
        yield name, name, snapshot, "hub_cache"
    for root in get_models_folders():
        for path in _iter_model_folders(root, depth=2):
            yield "/".join(path.relative_to(root).parts), str(path), path, "lm_studio"


def _iter_model_folders(root: Path, depth: int) -> Iterator[Path]:
    """Yield the folders that look like models, from the top, at most ``depth`` levels down."""
    level, seen = [root] if root.is_dir() else [], 0
    for _ in range(depth + 1):
        below: list[Path] = []
        for folder in level:
            seen += 1
            if seen > MAX_FOLDERS:
                return
            if _looks_like_model(folder):
                yield folder
            else:
                below += list_folders(folder)
        level = below


def _looks_like_model(folder: Path) -> bool:
    try:
        names = list_names(folder)
    except StudioError:  # a folder that may not be read holds no model for us
        return False
    if "adapter_config.json" in names and "config.json" not in names:
        return False
    return "config.json" in names or any(name.lower().endswith(_WEIGHTS) for name in names)


def _read_architecture(folder: Path) -> str:
    try:
        config = read_json(folder / "config.json", MAX_CONFIG_BYTES)
    except StudioError:  # already told as the problem of the folder
        return ""
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures:
        return str(architectures[0])[:100]
    return str(config.get("model_type", ""))[:100]


def _sum_weights(folder: Path) -> int:
    try:
        names = [name for name in list_names(folder) if name.lower().endswith(_WEIGHTS)]
        return sum((folder / name).stat().st_size for name in names)
    except (OSError, StudioError):
        return 0
