"""A run read from its folder: what a page shows of it when no worker thread watches it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import StudioError
from studio.core.events.types import Event
from studio.core.recipe.save import dump_recipe
from studio.core.runs.layout import RunLayout
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore
from studio.gui.bridge.curves import RunCurves
from studio.gui.bridge.run_log import load_log


@dataclass(frozen=True)
class SavedRun:
    """Record, curves, log and frozen recipe of one run."""

    record: RunRecord
    curves: RunCurves
    log: tuple[Event, ...]
    recipe_text: str


def load_saved_run(store: RunStore, folder: Path) -> SavedRun:
    """Returns everything about the run in a folder; takes as long as its journal is.

    Raises:
        FileUnusable: The folder is no run, or its journal cannot be read.
    """
    layout = RunLayout(folder)
    journal = store.open_journal(layout)
    journal.read_all()
    return SavedRun(
        record=store.load(layout),
        curves=RunCurves.take(journal.series),
        log=tuple(load_log(layout, journal.offset)),
        recipe_text=load_recipe_text(store, folder),
    )


def load_recipe_text(store: RunStore, folder: Path) -> str:
    """Returns the frozen recipe of a run as YAML, or in words why it cannot be read."""
    layout = RunLayout(folder)
    if not layout.recipe.is_file() and store.load(layout).is_imported:
        return (
            "This adapter came without the recipe it was trained with. It can be compared, "
            "blended, trained further and exported all the same."
        )
    try:
        return dump_recipe(store.load_recipe(RunRecord(folder=folder)))
    except StudioError as error:
        return str(error)
