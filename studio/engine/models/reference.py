"""From what a user wrote (a folder or a hub name) to a pinned folder on this machine."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import ModelUnusable
from studio.core.files import get_file_error
from studio.core.hub.cache import find_hub_snapshot
from studio.core.hub.names import PREFIX
from studio.core.json_text import parse_json

_HUB_NAME = re.compile(r"^[\w.-]+(/[\w.-]+)?$")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
_WHOLE_HASH_BYTES = 64 << 20
_SAMPLE_BYTES = 256 << 10
_SAMPLE_COUNT = 64
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class ModelReference:
    """A base model on this machine: the name to write down, its folder, its commit if known."""

    name: str
    folder: Path
    revision: str | None = None


def find_model(model: str, base_folder: Path, revision: str | None = None) -> ModelReference:
    """Returns the folder of ``model``: a path (relative to ``base_folder``) or a hub name.

    Nothing is downloaded; a hub name must already be in this machine's cache.

    Raises:
        ModelUnusable: There is no such folder or cached model, or it has no safetensors weights.
    """
    model = model.removeprefix(PREFIX)
    folder = Path(os.path.expandvars(model)).expanduser()
    folder = folder if folder.is_absolute() else base_folder / folder
    if folder.exists():
        check_model_folder(folder)
        return ModelReference(model, folder.resolve())
    looks_like_path = model.startswith((".", "/", "~")) or "\\" in model or model.count("/") > 1
    if looks_like_path or not _HUB_NAME.match(model):
        raise ModelUnusable(
            f"There is no folder {folder}.",
            "Choose the folder that holds config.json and the .safetensors files of the model.",
        )
    snapshot = find_hub_snapshot(model, revision)
    if snapshot is None:
        version = f" in version {revision}" if revision else ""
        raise ModelUnusable(
            f"The model {model} is not on this machine{version}: there is no such folder, and it "
            "is not in the hub's cache.",
            f"Check the name, choose a model folder, or download it: lora-studio download {model}",
        )
    check_model_folder(snapshot)
    commit = snapshot.name if _COMMIT.match(snapshot.name) else revision
    return ModelReference(model, snapshot, commit)


def check_model_folder(folder: Path) -> None:
    """Returns quietly when ``folder`` holds a config and safetensors weights.

    Raises:
        ModelUnusable: It is no folder, has no config.json, or only weights in unsafe formats.
    """
    if not folder.is_dir():
        raise ModelUnusable(
            f"{folder} is a file, not a model folder.",
            "Choose the folder that holds config.json and the .safetensors files of the model.",
        )
    if not (folder / "config.json").is_file():
        raise ModelUnusable(
            f"{folder} is not a model folder: it has no config.json.",
            "Choose the folder that holds config.json and the .safetensors files of the model.",
        )
    if any(folder.glob("*.safetensors")):
        return
    if any(path for pattern in _PICKLES for path in folder.glob(pattern)):
        raise ModelUnusable(
            f"{folder} has its weights only in an old format that can run hidden programs when "
            "it is opened, so it is not loaded.",
            "Get a version of this model with .safetensors files.",
        )
    raise ModelUnusable(
        f"{folder} has no weights: no .safetensors file was found.",
        "Complete the download, or choose another folder.",
    )


def hash_model(folder: Path) -> dict[str, str]:
    """Returns a hash for each weight, config and tokenizer file of a model folder, by name.

    ``sha256:`` hashes cover the whole file. ``sampled-sha256:`` hashes (files above 64 MiB) cover
    the size, the safetensors header and 64 evenly spaced pieces, so that a file of any size takes
    a fraction of a second.

    Raises:
        FileUnusable: A file cannot be read.
    """
    names = {path.name for path in folder.glob("*.safetensors")}
    names |= {"config.json", "generation_config.json", *_TOKENIZER_FILES}
    found = sorted(name for name in names if (folder / name).is_file())
    return {name: hash_file(folder / name) for name in found}


def hash_file(path: Path) -> str:
    """Returns the hash of one file, sampled when it is larger than 64 MiB.

    Raises:
        FileUnusable: The file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            if size <= _WHOLE_HASH_BYTES:
                while piece := stream.read(1 << 20):
                    digest.update(piece)
                return f"sha256:{digest.hexdigest()}"
            digest.update(size.to_bytes(8, "little"))
            header = stream.read(8)
            digest.update(header)
            digest.update(stream.read(min(int.from_bytes(header, "little"), 16 << 20)))
            for index in range(_SAMPLE_COUNT):
                stream.seek((size - _SAMPLE_BYTES) * index // (_SAMPLE_COUNT - 1))
                digest.update(stream.read(_SAMPLE_BYTES))
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    return f"sampled-sha256:{digest.hexdigest()}"


def read_architecture(folder: Path) -> str:
    """Returns the class name that the model's config names, or its type.

    Raises:
        ModelUnusable: config.json is not readable as JSON.
    """
    path = folder / "config.json"
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnusable(
            f"{path} is damaged: {error}.", "Copy or download the model again."
        ) from error
    names = config.get("architectures") or [config.get("model_type", "unknown")]
    return str(names[0])
