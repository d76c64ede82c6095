"""Runs that were trained elsewhere become part of the history: from a capsule or an adapter."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from studio.core.errors import AdapterUnusable, FileUnusable
from studio.core.events.types import RunImported
from studio.core.events.writer import EventWriter
from studio.core.files import check_free_space, get_file_error, write_atomically
from studio.core.jobs.orders import ImportOrder
from studio.core.recipe.load import load_recipe
from studio.core.runs.capsule import CapsuleIndex, read_index, unpack_capsule
from studio.core.runs.layout import RunLayout
from studio.core.runs.store import draft_run, load_order

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
_SUFFIXES = {".json", ".jinja", ".model", ".txt", ".md"}
_LARGEST_SMALL_BYTES = 200 << 20
_SAFE_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")
_TEMPLATES = "additional_chat_templates"


def is_capsule(source: Path) -> bool:
    """Returns whether ``source`` is a file, which only a capsule can be, and not a folder.

    Raises:
        FileUnusable: There is nothing at ``source``.
    """
    if not source.exists():
        raise FileUnusable(f"There is no {source}.", "Check the path.")
    return source.is_file()


def find_adapter_folder(source: Path) -> Path:
    """Returns the adapter in a folder: the folder itself, or ``adapter`` in a run directory.

    Raises:
        AdapterUnusable: There is none.
    """
    for folder in (source, RunLayout(source).adapter):
        if (folder / CONFIG_NAME).is_file():
            return folder
    raise AdapterUnusable(
        f"{source} holds no adapter: there is no {CONFIG_NAME}.",
        f"Choose the folder that holds {CONFIG_NAME} and {WEIGHTS_NAME}, or a capsule.",
    )


def find_adapter_files(folder: Path) -> dict[str, Path]:
    """Returns the files of an adapter folder that travel with it, by their names below it.

    These are its settings, weights, tokenizer, templates and card; no code, no training state.

    Raises:
        FileUnusable: The folder cannot be read.
    """
    try:
        files = [path for path in sorted(folder.iterdir()) if path.is_file()]
        templates = folder / _TEMPLATES
        files += sorted(templates.glob("*.jinja")) if templates.is_dir() else []
    except OSError as error:
        raise get_file_error(folder, error, "read") from error
    return {
        path.relative_to(folder).as_posix(): path
        for path in files
        if path.name == WEIGHTS_NAME or _travels(path)
    }


def import_adapter(
    order: ImportOrder, runs: Path, check: Callable[[Path], object]
) -> Generator[int, None, RunLayout]:
    """Copies the adapter folder that ``order`` names into a new run directory below ``runs``.

    ``check`` raises where the adapter in a folder must not be believed.

    Yields:
        How many bytes were copied.

    Raises:
        AdapterUnusable: There is no adapter.
        DiskFull: No space is left; nothing remains.
        FileUnusable: A file cannot be read or written; nothing remains.
    """
    source = find_adapter_folder(Path(order.source))
    check(source)
    files = find_adapter_files(source)
    filled = order.model_copy(update={"base": order.base or read_base_name(source)})
    check_free_space(runs, sum(path.stat().st_size for path in files.values()))
    name = order.name or _get_name(source)
    with draft_run(runs, name, filled, time.time()) as draft:
        for part, path in files.items():
            target = draft.layout.adapter / part
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            yield target.stat().st_size
        _close_journal(draft.layout, RunImported(source=str(source)))
        return draft.keep()


def choose_base(layout: RunLayout, base: str) -> None:
    """Says which base model an imported adapter belongs to, where it was not found here.

    Raises:
        FileUnusable: The folder is no run, or cannot be written to.
    """
    order = load_order(layout)
    if isinstance(order, ImportOrder):
        text = order.model_copy(update={"base": base, "chosen_base": base}).model_dump_json(
            indent=2
        )
        write_atomically(layout.job, f"{text}\n")


def import_capsule(
    order: ImportOrder, runs: Path, check: Callable[[Path], object]
) -> Generator[int, None, RunLayout]:
    """Unpacks the capsule that ``order`` names into a new run directory; every hash is compared.

    ``check`` raises where the adapter in a folder must not be believed.

    Yields:
        How many bytes were unpacked.

    Raises:
        DiskFull: No space is left; nothing remains.
        FileUnusable: It is no capsule, is damaged or was changed; nothing remains.
        RecipeInvalid: Its recipe breaks a rule of this version; nothing remains.
    """
    path = Path(order.source)
    index = read_index(path)
    filled = _fill(order, index)
    moment = index.created_seconds or time.time()
    with draft_run(runs, filled.name or index.name, filled, moment) as draft:
        yield from unpack_capsule(path, draft.layout.folder)
        check(draft.layout.adapter)
        if index.has_recipe:
            load_recipe(draft.layout.recipe)  # one that cannot be read is better refused now
        event = RunImported(source=str(path), has_recipe=index.has_recipe)
        _close_journal(draft.layout, event)
        return draft.keep()


def _fill(order: ImportOrder, index: CapsuleIndex) -> ImportOrder:
    return order.model_copy(
        update={
            "name": order.name or index.name,
            "base": order.base or index.base,
            "base_folder": index.base_folder,
        }
    )


def _close_journal(layout: RunLayout, event: RunImported) -> None:
    with EventWriter(layout.events) as writer:
        writer.write(event)


def _get_name(source: Path) -> str:
    """Returns what people call an adapter: its folder, or the one around a plain ``adapter``."""
    return source.parent.name if source.name == "adapter" and source.parent.name else source.name


def _travels(path: Path) -> bool:
    is_small = path.stat().st_size <= _LARGEST_SMALL_BYTES
    is_state = path.name.startswith(("training_state", "trainer_state", "optimizer"))
    is_safe = _SAFE_NAME.match(path.name) is not None
    return is_safe and is_small and not is_state and path.suffix.lower() in _SUFFIXES


def read_base_name(adapter: Path) -> str | None:
    """Returns which base the adapter in a folder names; None where it says nothing readable."""
    try:
        content: Any = json.loads((adapter / CONFIG_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    name = content.get("base_model_name_or_path") if isinstance(content, dict) else None
    return name if isinstance(name, str) and name else None
