"""Which files of a repository are fetched: weights, tokenizer, settings and data; never code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from studio.core.errors import DatasetInvalid, ModelUnusable
from studio.core.hub.client import HubDetails, HubFile

_MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "tokenizer*.json",
    "tokenizer.model",
    "tokenizer.model.v*",
    "spiece.model",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
    "preprocessor_config.json",
    "processor_config.json",
    "adapter_config.json",
    "README.md",
    "LICENSE*",
    "NOTICE*",
)
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "adapter_model.safetensors")
_DATA = (".parquet", ".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".arrow", ".txt", ".md")
_PACKED = (".gz", ".zst", ".zip")
_NO_DATA = ("readme", "license", "licence", "notice", "citation", "dataset_infos", "changelog")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_LONGEST_PATH = 400
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\:*?\"<>|]")
_LARGEST_TEXT_BYTES = 64 << 20


def choose_files(details: HubDetails, only: str = "") -> tuple[HubFile, ...]:
    """Returns the files to fetch, small ones first.

    ``only`` is a folder or a pattern of paths, for data sets that hold more than is wanted.

    Raises:
        ModelUnusable: The model has no weights in the one safe format.
        DatasetInvalid: The data set has no file that can be read, or none under ``only``.
    """
    safe = [file for file in details.files if is_safe_path(file.path)]
    if details.entry.repository.kind == "model":
        chosen = _choose_of_model(details, safe)
    else:
        chosen = _choose_of_data(details, safe, only)
    return tuple(sorted(chosen, key=lambda file: (file.size_bytes, file.path)))


def is_safe_path(path: str) -> bool:
    """Returns whether a path from the hub stays inside the folder it is put in, on any system."""
    parts = path.split("/")
    is_plain = all(part and part.strip(" .") for part in parts)
    return is_plain and len(path) <= _LONGEST_PATH and _CONTROL.search(path) is None


def _choose_of_model(details: HubDetails, safe: Sequence[HubFile]) -> list[HubFile]:
    name = details.entry.repository.name
    weights = [file for file in safe if _matches(file.path, _WEIGHTS)]
    if not weights:
        # some repositories name the one file otherwise; several would be a guess
        weights = [file for file in safe if fnmatchcase(file.path, "*.safetensors")]
        weights = [file for file in weights if "/" not in file.path]
        weights = weights if len(weights) == 1 else []
    if not weights:
        raise ModelUnusable(*_describe_lack(name, details))
    others = [
        file
        for file in safe
        if _matches(file.path, _MODEL_FILES) and file.size_bytes <= _LARGEST_TEXT_BYTES
    ]
    return [*others, *weights]


def _describe_lack(name: str, details: HubDetails) -> tuple[str, str]:
    endings = {PurePosixPath(file.path).suffix for file in details.files}
    if ".gguf" in endings:
        return (
            f"The model {name} is offered as GGUF, made for running, not for training.",
            "Look for the original model it was made from; its page mostly names it.",
        )
    if endings & set(_PICKLES):
        return (
            f"The model {name} has its weights only in an old format that can run hidden programs "
            "when it is opened, so it is not fetched.",
            "Choose a version of this model with .safetensors files.",
        )
    return (
        f"The model {name} has no weights that can be used.",
        "Choose a model with .safetensors files.",
    )


def _choose_of_data(details: HubDetails, safe: Sequence[HubFile], only: str) -> list[HubFile]:
    name = details.entry.repository.name
    chosen = [file for file in safe if _is_data(file.path)]
    if only:
        folder = only.strip("/")
        chosen = [
            file
            for file in chosen
            if file.path == folder
            or file.path.startswith(f"{folder}/")
            or fnmatchcase(file.path, only)
        ]
    if chosen:
        return chosen
    if only:
        raise DatasetInvalid(
            f"The data set {name} has no data under {only!r}.",
            "Look at its files on the hub, or leave the part out.",
        )
    if any(file.path.endswith(".py") for file in details.files):
        raise DatasetInvalid(
            f"The data set {name} consists of a program that fetches the data, which is not run.",
            "Choose a data set with .parquet, .jsonl, .json or .csv files.",
        )
    raise DatasetInvalid(
        f"The data set {name} has no file that can be read as training data.",
        "Choose a data set with .parquet, .jsonl, .json or .csv files.",
    )


def _is_data(path: str) -> bool:
    file = PurePosixPath(path.lower())
    if any(part.startswith(".") for part in file.parts) or file.stem in _NO_DATA:
        return False
    inner = PurePosixPath(file.stem) if file.suffix in _PACKED else file
    return inner.suffix in _DATA or file.suffix == ".zip"


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(
        path.count("/") == pattern.count("/") and fnmatchcase(path, pattern) for pattern in patterns
    )
