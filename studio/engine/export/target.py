"""Where an export goes: an empty place with enough space, and the base's small files in it."""

from __future__ import annotations

import shutil
from pathlib import Path

from studio.core.errors import FileUnusable
from studio.core.files import check_free_space, get_file_error

_SUFFIXES = {".json", ".jinja", ".model", ".spm", ".tiktoken", ".txt", ".vocab"}
_LEGAL_NAMES = ("licen", "notice", "use_policy")
_TEMPLATE_FOLDER = "additional_chat_templates"
_SPARE_BYTES = 10_000_000
# What a training or an earlier export left beside an adapter; none of it belongs to the model.
_OWN_STARTS = ("training_state", "trainer_state", "training_args", "certificate")


def check_target(target: Path, needed_bytes: int) -> None:
    """Returns quietly when ``target`` is absent or empty and its drive has the space.

    Raises:
        FileUnusable: Something is there already.
        DiskFull: The drive has less than ``needed_bytes`` free.
    """
    try:
        is_taken = target.exists() and (not target.is_dir() or any(target.iterdir()))
    except OSError as error:
        raise get_file_error(target, error, "used") from error
    if is_taken:
        raise FileUnusable(
            f"{target} already exists and is not empty.", "Choose a new or an empty folder."
        )
    check_free_space(target.parent, needed_bytes + _SPARE_BYTES)


def find_companions(base: Path) -> list[Path]:
    """Returns the files of a model folder that travel with it unchanged.

    These are its configuration, tokenizer, templates and licence; not the weights, and no code.

    Raises:
        FileUnusable: The folder cannot be read.
    """
    try:
        files = [path for path in sorted(base.iterdir()) if path.is_file()]
        templates = base / _TEMPLATE_FOLDER
        extra = sorted(templates.glob("*.jinja")) if templates.is_dir() else []
    except OSError as error:
        raise get_file_error(base, error, "read") from error
    return [path for path in files if _is_companion(path.name)] + extra


def copy_companions(base: Path, files: list[Path], folder: Path) -> None:
    """Copies ``files`` of ``base`` into ``folder``, byte by byte, with their subfolders."""
    for path in files:
        copy = folder / path.relative_to(base)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)


def _is_companion(name: str) -> bool:
    lower = name.lower()
    if lower.startswith(_LEGAL_NAMES):
        return True
    if lower.startswith(_OWN_STARTS):
        return False
    return Path(lower).suffix in _SUFFIXES and not lower.endswith(".index.json")
