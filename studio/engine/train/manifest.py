"""What a run was made from: hashes of base, tokenizer and data, versions and seed."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import torch
import transformers

import studio
from studio.core.errors import DatasetInvalid, FileUnusable, ModelUnusable
from studio.core.files import get_file_error, write_json_atomically
from studio.engine.data.prepare import PreparedData
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


def build_manifest(reference: ModelReference, data: PreparedData, seed: int) -> dict[str, Any]:
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


def _load(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return {"base": {"files": dict(manifest["base"]["files"])}, "data": dict(manifest["data"])}
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FileUnusable(
            f"{path} is damaged: {error}.", "Start a new run with the same recipe."
        ) from error


def _find_changed(earlier: dict[str, str], now: dict[str, str]) -> list[str]:
    names = sorted({*earlier, *now})
    return [name for name in names if earlier.get(name) != now.get(name)]
