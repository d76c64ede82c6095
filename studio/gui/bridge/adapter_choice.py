"""Adapters a person can pick: those of the history, and any PEFT folder on the disk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import AdapterUnusable
from studio.core.files import get_file_error
from studio.core.json_text import parse_json
from studio.core.runs.layout import RunLayout
from studio.gui.bridge.run_catalog import RunRow, get_base_name

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_LARGEST_CONFIG_BYTES = 1 << 20
_STEP = re.compile(r"^step-\d{1,12}$")


@dataclass(frozen=True)
class AdapterChoice:
    """One adapter: its name for people, its folder, and the base it was trained on (or empty).

    ``lacking_run`` is the folder of its run if that was imported and its base is not here.
    """

    name: str
    folder: Path
    base: str
    lacking_run: str = ""

    @property
    def base_name(self) -> str:
        """The last part of the base's path or name."""
        return get_base_name(self.base)


def choose_run(row: RunRow) -> AdapterChoice | None:
    """Returns the adapter of a run, None while it has none."""
    if row.adapter is None:
        return None
    return AdapterChoice(row.title, row.adapter, row.base, row.folder if row.lacks_base else "")


@dataclass(frozen=True)
class AdapterGroup:
    """The adapters of one run: the finished one, and those of its checkpoints, newest first."""

    folder: str
    final: AdapterChoice
    checkpoints: tuple[AdapterChoice, ...] = ()


def find_group(row: RunRow) -> AdapterGroup | None:
    """Returns the adapters of a run, None while it has none; looks into its folder."""
    final = choose_run(row)
    if final is None:
        return None
    run = RunLayout(row.record.folder)
    paths = run.checkpoints.iterdir() if run.checkpoints.is_dir() else ()
    steps = sorted(
        (
            (int(path.name.rpartition("-")[2]), path)
            for path in paths
            if _STEP.match(path.name) and (path / _CONFIG).is_file()
        ),
        reverse=True,
    )
    name = row.title
    checkpoints = [AdapterChoice(f"{name}, step {step:,}", path, row.base) for step, path in steps]
    return AdapterGroup(row.folder, final, tuple(checkpoints))


def load_choice(folder: Path) -> AdapterChoice:
    """Returns the adapter in a folder, judged by its small files alone.

    Raises:
        AdapterUnusable: The folder holds no adapter in PEFT format with safetensors weights.
        FileUnusable: The folder cannot be read.
    """
    path = folder / _CONFIG
    try:
        if not path.is_file():
            raise AdapterUnusable(
                f"{folder} holds no adapter: {_CONFIG} is missing.",
                "Choose the folder that holds adapter_config.json and adapter_model.safetensors.",
            )
        if not (folder / _WEIGHTS).is_file():
            raise AdapterUnusable(
                f"{folder} holds no safetensors weights ({_WEIGHTS} is missing).",
                "Only safetensors files are loaded, because other formats can run programs. "
                "Save the adapter again as safetensors.",
            )
        with path.open("rb") as stream:
            config = parse_json(stream.read(_LARGEST_CONFIG_BYTES))
    except ValueError as error:
        raise AdapterUnusable(
            f"{path} is damaged: it is not JSON.", "Copy the adapter again."
        ) from error
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    return AdapterChoice(folder.name, folder, base if isinstance(base, str) else "")


def check_base(choice: AdapterChoice, base: str) -> None:
    """Returns quietly unless the adapter names another base than the one that is loaded.

    Raises:
        AdapterUnusable: The adapter was trained on another model.
    """
    if not base or not choice.base or choice.base == base:
        return
    if choice.base_name.lower() != get_base_name(base).lower():
        raise AdapterUnusable(
            f"The adapter {choice.name} was trained on {choice.base_name}, but the base here is "
            f"{get_base_name(base)}.",
            "An adapter only works on its own base. Take the other adapters out first, or choose "
            "an adapter of this base.",
        )
