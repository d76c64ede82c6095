"""Whether a folder holds a model that can be loaded safely, and if not, why and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from studio.core.errors import ModelUnusable
from studio.core.files import get_file_error
from studio.core.weights.header import INDEX_FILE, SINGLE_FILE, Header, read_headers, read_json
from studio.core.weights.layers import MAX_CONFIG_BYTES
from studio.core.weights.stored import get_stored_kind

MAX_LISTED_FILES = 5_000
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_UNFINISHED = (".incomplete", ".part", ".crdownload", ".aria2")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


def check_model_folder(folder: Path) -> None:
    """Return quietly when ``folder`` holds a complete causal language model in safetensors.

    Every header is read and checked; weights are not.

    Raises:
        ModelUnusable: It does not; the message says why, the remedy what to do.
        FileUnusable: A file cannot be read.
    """
    read_model(folder)
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise ModelUnusable(
            f"{folder} holds no tokenizer.",
            "Copy the tokenizer files of the model (tokenizer.json and others) into the folder.",
        )


def read_model(folder: Path) -> tuple[dict[str, Any], tuple[Header, ...]]:
    """Return the configuration and the file headers of the model in ``folder``.

    Raises:
        ModelUnusable: It holds no complete model in safetensors that can be trained.
        FileUnusable: A file cannot be read.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ModelUnusable(f"{folder} {what}.", "Choose the folder that holds the model's files.")
    names = list_names(folder)
    if "config.json" not in names:
        raise ModelUnusable(*_explain_no_config(folder, names))
    config = read_json(folder / "config.json", MAX_CONFIG_BYTES)
    if not config.get("model_type"):
        raise ModelUnusable(
            f"{folder / 'config.json'} does not say which kind of model this is (model_type).",
            "Choose a model in the format of the transformers library.",
        )
    get_stored_kind(config)  # refuses formats that nothing here can read
    if SINGLE_FILE not in names and INDEX_FILE not in names:
        raise ModelUnusable(*_explain_no_weights(folder, names))
    return config, read_headers(folder)


def list_names(folder: Path) -> set[str]:
    """Return the names in a folder, a bounded number of them.

    Raises:
        FileUnusable: The folder cannot be read.
    """
    names = set()
    try:
        for path in folder.iterdir():
            names.add(path.name)
            if len(names) >= MAX_LISTED_FILES:
                break
    except OSError as error:
        raise get_file_error(folder, error, "read") from error
    return names


def _explain_no_config(folder: Path, names: set[str]) -> tuple[str, str]:
    if "adapter_config.json" in names:
        return (
            f"{folder} holds an adapter, not a base model.",
            "Choose the model that the adapter was made for; the adapter itself can be continued "
            "with the setting 'Continue an adapter'.",
        )
    if _has(names, (".gguf",)):
        return (
            f"{folder} holds a model for llama.cpp (GGUF), which cannot be trained.",
            "Choose the original model in the transformers format (config.json and safetensors).",
        )
    return (
        f"{folder} is no model folder: config.json is missing.",
        "Choose the folder that holds config.json and the safetensors files.",
    )


def _explain_no_weights(folder: Path, names: set[str]) -> tuple[str, str]:
    if _has(names, _UNFINISHED):
        return (f"The download of {folder} is not finished.", "Download the model again.")
    if _has(names, _PICKLES):
        return (
            f"{folder} holds its weights only as pickle files (.bin), which can run foreign "
            "programs when they are opened. They are not loaded.",
            "Look for a version of the model with safetensors files, or convert it with a tool "
            "that you trust.",
        )
    if _has(names, (".gguf",)):
        return (
            f"{folder} holds the weights only as GGUF, which cannot be trained.",
            "Choose the original model in the transformers format (config.json and safetensors).",
        )
    if _has(names, (".safetensors",)):
        return (
            f"{folder} holds safetensors files, but neither {SINGLE_FILE} nor an index of parts.",
            "Choose a model saved by the transformers library, or download the missing files.",
        )
    return (
        f"{folder} holds no weights.",
        "Download the model completely, or choose another folder.",
    )


def _has(names: Iterable[str], endings: tuple[str, ...]) -> bool:
    return any(name.lower().endswith(endings) for name in names)
