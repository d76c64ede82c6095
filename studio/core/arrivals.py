"""What a file or folder is that somebody hands to the program, judged without loading it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.core.errors import StudioError
from studio.core.files import get_file_error
from studio.core.runs.capsule import INDEX_NAME
from studio.core.runs.importing import CONFIG_NAME, WEIGHTS_NAME, find_adapter_folder
from studio.core.weights.folder import check_model_folder, list_names

Kind = Literal["data", "model", "adapter", "recipe", "unknown"]

DATA_SUFFIXES = (
    *(".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather"),
    *(".txt", ".text", ".md", ".markdown"),
)
"""Endings of files with training data; a test holds them against what the engine can read."""
PACKED_SUFFIXES = (".gz", ".zst")
_RECIPES = (".yaml", ".yml")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
_MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
_MOST_ENTRIES = 2_000
_WAY_OUT = (
    "Training data are JSONL, JSON, CSV, Parquet, Arrow or text files, or folders of them. A base "
    "model is a folder with config.json and safetensors files. An adapter is a folder with "
    f"{CONFIG_NAME}, or a capsule (.zip)."
)


@dataclass(frozen=True)
class Arrival:
    """One thing that came, ``path`` what is opened of it; an unknown one says why and what to do.

    An adapter's path is its folder or a capsule.
    """

    path: Path
    kind: Kind
    message: str = ""
    remedy: str = ""


def find_arrivals(
    paths: Iterable[str], is_cancelled: Callable[[], bool] = bool
) -> tuple[Arrival, ...]:
    """Return what lies at each of these paths; folders are looked into, a bounded way."""
    found: dict[Path, Arrival] = {}
    for text in paths:
        if is_cancelled():
            break
        one = find_arrival(Path(text))
        found.setdefault(one.path, one)
    return tuple(found.values())


def find_arrival(path: Path) -> Arrival:
    """Return what lies at a path; what cannot be read is unknown, with the reason."""
    try:
        if path.is_dir():
            return _judge_folder(path)
        if not path.exists():
            return _unknown(path, f"There is nothing at {path}.", "It was moved or renamed.")
        return _judge_file(path)
    except OSError as error:
        told = get_file_error(path, error, "read")
        return _unknown(path, told.message, told.remedy)


def is_data_name(name: str) -> bool:
    """Return whether a file of this name can be training data, packed or not."""
    path = Path(name.lower())
    inner = Path(path.stem) if path.suffix in PACKED_SUFFIXES else path
    return inner.suffix in DATA_SUFFIXES


def describe_arrivals(arrivals: Sequence[Arrival], *, has_data: bool) -> tuple[str, str]:
    """Return what dropping these things does, and what else there is to know."""
    words = [_describe(kind, arrivals, has_data=has_data) for kind in _ORDER]
    title = " · ".join(one for one in words if one)
    strange = [one for one in arrivals if one.kind == "unknown"]
    if not strange:
        names = [one.path.name for one in arrivals]
        rest = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
        return title, ", ".join(names[:3]) + rest
    why = f"{strange[0].message} {strange[0].remedy}".strip()
    return title or "This cannot be opened here", why


_ORDER: tuple[Kind, ...] = ("model", "data", "adapter", "recipe")


def _describe(kind: Kind, arrivals: Sequence[Arrival], *, has_data: bool) -> str:
    count = sum(one.kind == kind for one in arrivals)
    if not count:
        return ""
    if kind == "data":
        many = "" if count == 1 else f" ({count:,} files)"
        return f"Add to the training data{many}" if has_data else f"Use as training data{many}"
    if kind == "adapter":
        return "Import as run" if count == 1 else f"Import as {count:,} runs"
    return "Open as base model" if kind == "model" else "Open as recipe"


def _judge_folder(folder: Path) -> Arrival:
    try:
        names = list_names(folder)
        if CONFIG_NAME in names or (folder / "adapter" / CONFIG_NAME).is_file():
            return Arrival(find_adapter_folder(folder), "adapter")
        if "config.json" in names:
            check_model_folder(folder)
            return Arrival(folder, "model")
    except StudioError as error:
        return _unknown(folder, error.message, error.remedy)
    if any(name.lower().endswith(".gguf") for name in names):
        return _unknown(folder, *_GGUF)
    if any(is_data_name(name) for name in _iter_names(folder)):
        return Arrival(folder, "data")
    return _unknown(folder, f"{folder.name} holds nothing that can be used here.", _WAY_OUT)


_GGUF = (
    "A model for llama.cpp (GGUF) cannot be trained.",
    "Choose the original model in the transformers format (config.json and safetensors).",
)


def _judge_file(path: Path) -> Arrival:
    suffix, name = path.suffix.lower(), path.name.lower()
    if name in (CONFIG_NAME, WEIGHTS_NAME):
        return _judge_folder(path.parent)
    has_model = (path.parent / "config.json").is_file()
    if has_model and (suffix in _WEIGHTS or name in _MODEL_FILES):
        return _judge_folder(path.parent)
    if suffix in _RECIPES:
        return Arrival(path, "recipe")
    if suffix == ".gguf":
        return _unknown(path, *_GGUF)
    if suffix == ".zip":
        return _judge_archive(path)
    if is_data_name(name):
        return Arrival(path, "data")
    return _unknown(path, f"{path.name} is of a kind that cannot be opened here.", _WAY_OUT)


def _judge_archive(path: Path) -> Arrival:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        return _unknown(path, f"{path.name} is a damaged archive: {error}.", "Get it once more.")
    if INDEX_NAME in names:
        return Arrival(path, "adapter")
    if any(is_data_name(name) for name in names):
        return Arrival(path, "data")
    return _unknown(path, f"{path.name} holds neither a capsule nor training data.", _WAY_OUT)


def _iter_names(folder: Path) -> Iterator[str]:
    """Yield names of files in a folder and below it, so many at most; hidden ones are left out."""
    seen = 0
    for _, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in names:
            seen += 1
            if seen > _MOST_ENTRIES:
                return
            if not name.startswith("."):
                yield name


def _unknown(path: Path, message: str, remedy: str) -> Arrival:
    return Arrival(path, "unknown", message, remedy)
