"""Checkpoints: all that an exact resume needs, in safetensors and JSON, entire or not there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from studio.core.errors import AdapterUnusable, CheckpointDamaged
from studio.core.files import (
    get_file_error,
    get_temporary_path,
    move,
    remove,
    replace_folder,
    sweep_leftovers,
    write_atomically,
    write_json_atomically,
)
from studio.core.json_text import parse_json
from studio.core.weights.adapter_file import WEIGHTS_NAME
from studio.core.weights.checksum import compute_file_checksum, compute_json_checksum
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.state import write_adapter_files
from studio.engine.train.optimizers import show_result
from studio.engine.train.progress import Progress
from studio.engine.train.random_state import RandomState, restore_random_state

FORMAT_VERSION = 1
_TENSORS_NAME = "training_state.safetensors"
_STATE_NAME = "training_state.json"
_FOLDER = re.compile(r"^step-(\d{7,})$")


@dataclass(frozen=True)
class AdapterOrigin:
    """What the adapter's own config says about the base it belongs to."""

    base_model: str
    revision: str | None = None


def save_checkpoint(
    folder: Path,
    adapter: Adapter,
    origin: AdapterOrigin,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    random_state: RandomState,
) -> int:
    """Writes ``folder``, entirely or not at all, and returns its size in bytes.

    The adapter lies in it in PEFT's format, so that every checkpoint is an adapter by itself.

    Raises:
        DiskFull: No space is left; what was there before is untouched.
        FileUnusable: The place cannot be written to.
    """
    # The files of the adapter are for everybody; an exact resume takes the trained numbers
    # themselves, whatever form a variant gives them in the file.
    tensors = {
        f"parameter.{name}": parameter.detach().cpu().contiguous()
        for name, parameter in adapter.named_parameters()
    }
    tensors |= {f"random.{name}": value for name, value in random_state.tensors.items()}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            tensor = value if isinstance(value, Tensor) else torch.tensor(value)
            tensors[f"optimizer.{index}.{name}"] = tensor.detach().cpu().contiguous()
    state: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "progress": asdict(progress),
        "random_python": random_state.python,
    }
    with replace_folder(folder) as new:
        with show_result(optimizer):
            write_adapter_files(
                adapter, new, base_model=origin.base_model, revision=origin.revision
            )
        write_atomically(new / _TENSORS_NAME, save(tensors))
        state["files"] = {path.name: compute_file_checksum(path) for path in new.iterdir()}
        state["checksum"] = compute_json_checksum(state)
        write_json_atomically(new / _STATE_NAME, state)
    return sum(path.stat().st_size for path in folder.iterdir())


def restore_checkpoint(
    folder: Path, adapter: Adapter, optimizer: torch.optim.Optimizer
) -> Progress:
    """Puts a checkpoint into adapter, optimizer and random generators; returns its progress.

    Nothing is changed by a checkpoint that is not what was saved.

    Raises:
        CheckpointDamaged: Bytes of it have changed or are missing, or it has another format.
        FileUnusable: The checkpoint cannot be read.
        AdapterUnusable: It belongs to another recipe.
    """
    state = _read_state(folder)
    for name, expected in state.get("files", {}).items():  # earlier versions wrote none
        if compute_file_checksum(folder / name) != expected:
            raise _get_damage(folder, f"{name} has changed since it was saved")
    try:
        tensors = load_file(folder / _TENSORS_NAME)
    except OSError as error:
        raise get_file_error(folder, error, "read") from error
    except SafetensorError as error:
        raise _get_damage(folder, str(error)) from error
    _restore_parameters(adapter, tensors)
    _restore_optimizer(optimizer, tensors)
    random_tensors = {
        name.removeprefix("random."): value
        for name, value in tensors.items()
        if name.startswith("random.")
    }
    restore_random_state(RandomState(state["random_python"], random_tensors))
    return Progress(**state["progress"])


def read_progress(folder: Path) -> Progress:
    """Returns how far the run was at a checkpoint.

    Raises:
        CheckpointDamaged: It is not what was saved, or has another format.
        FileUnusable: The checkpoint cannot be read.
    """
    return Progress(**_read_state(folder)["progress"])


def find_checkpoints(folder: Path) -> list[Path]:
    """Returns the complete checkpoints in ``folder``, oldest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _get_step(path) is not None]
    return sorted((path for path in found if _is_complete(path)), key=_get_sort_key)


def find_newest_checkpoint(folder: Path) -> Path | None:
    """Returns the complete checkpoint with the most steps, or None."""
    found = find_checkpoints(folder)
    return found[-1] if found else None


def set_checkpoint_aside(path: Path) -> Path:
    """Gives a checkpoint a name under which nothing looks for it; returns where it is now.

    Raises:
        FileUnusable: It cannot be moved.
    """
    aside = path.with_name(f"{path.name}.damaged")
    with _words_for(path, "set aside"):
        remove(aside)
        return move(path, aside)


def sweep_checkpoints(folder: Path) -> None:
    """Deletes what an interrupted save left behind; only for the process that owns the run.

    Raises:
        FileUnusable: The folder cannot be read or changed.
    """
    if folder.is_dir():
        sweep_leftovers(folder)


def find_old_checkpoints(folder: Path, keep: int, best_step: int | None) -> list[Path]:
    """Returns all but the newest ``keep`` checkpoints and the best."""
    return [path for path in find_checkpoints(folder)[:-keep] if _get_step(path) != best_step]


def remove_checkpoint(path: Path) -> int:
    """Deletes one checkpoint; returns its step.

    Raises:
        FileUnusable: It cannot be deleted, for example because another program reads it.
    """
    with _words_for(path, "deleted"):
        # Renamed first: if the machine stops meanwhile, the sweep finishes the work.
        remove(move(path, get_temporary_path(path)))
    return _get_sort_key(path)


def has_later_checkpoints(folder: Path, step: int) -> bool:
    """Returns whether there is a checkpoint of a later step."""
    return any(_get_sort_key(path) > step for path in find_checkpoints(folder))


def remove_later_checkpoints(folder: Path, step: int) -> list[tuple[int, Path]]:
    """Deletes the checkpoints of later steps than ``step``; returns step and folder.

    Raises:
        FileUnusable: A folder cannot be deleted.
    """
    later = [path for path in find_checkpoints(folder) if _get_sort_key(path) > step]
    return [(remove_checkpoint(path), path) for path in later]


def copy_adapter(checkpoint: Path, target: Path) -> None:
    """Replaces ``target`` by the adapter inside ``checkpoint``, entirely or not at all.

    Raises:
        DiskFull: No space is left; the old folder is untouched.
        FileUnusable: The place cannot be written to.
    """
    names = sorted(path.name for path in checkpoint.glob("adapter_*"))
    with replace_folder(target) as new:
        for name in names:
            shutil.copyfile(checkpoint / name, new / name)


@torch.no_grad()
def _restore_parameters(adapter: Adapter, tensors: dict[str, Tensor]) -> None:
    for name, parameter in adapter.named_parameters():
        values = tensors.get(f"parameter.{name}")
        if values is None or values.shape != parameter.shape:
            raise AdapterUnusable(
                f"The checkpoint does not fit the recipe: {name} is missing or has another shape.",
                "Resume with the recipe that the run was started with.",
            )
        parameter.copy_(values)


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    states: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        kind, index, *rest = name.split(".")
        if kind == "optimizer":
            # A copy: what was read is the file itself, in memory as long as it is used, and
            # Windows lets nobody delete or replace such a file.
            states.setdefault(int(index), {})[".".join(rest)] = value.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = parse_json((folder / _STATE_NAME).read_text(encoding="utf-8"))
    except OSError as error:
        raise get_file_error(folder / _STATE_NAME, error, "read") from error
    except ValueError as error:
        raise _get_damage(folder, str(error)) from error
    if state.get("format") != FORMAT_VERSION:
        raise _get_damage(folder, f"its format is {state.get('format')!r}")
    checksum = state.pop("checksum", None)  # earlier versions wrote none
    if checksum is not None and compute_json_checksum(state) != checksum:
        raise _get_damage(folder, f"{_STATE_NAME} has changed since it was saved")
    return state


def _get_damage(folder: Path, reason: str) -> CheckpointDamaged:
    return CheckpointDamaged(
        f"The checkpoint {folder.name} cannot be used: {reason}.",
        f"Copy {folder} back from elsewhere, or delete it to start the run from the beginning.",
    )


def _get_step(path: Path) -> int | None:
    match = _FOLDER.match(path.name)
    return int(match[1]) if match else None


def _get_sort_key(path: Path) -> int:
    return _get_step(path) or 0


def _is_complete(path: Path) -> bool:
    return all((path / name).is_file() for name in (WEIGHTS_NAME, _TENSORS_NAME, _STATE_NAME))


@contextmanager
def _words_for(path: Path, wish: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise get_file_error(path, error, wish) from error
