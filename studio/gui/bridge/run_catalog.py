"""The history with what stands in the frozen recipes: which base, which data, which adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import StudioError
from studio.core.hub.cache import find_hub_snapshot
from studio.core.recipe.schema import Recipe
from studio.core.runs.exporting import find_base, find_base_folder, find_chosen_base
from studio.core.runs.layout import RunLayout
from studio.core.runs.naming import build_titles
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore
from studio.core.units import UNKNOWN

_PLAIN_NAMES = frozenset({"model", "base", "base_model"})


@dataclass(frozen=True)
class RunRow:
    """One run as lists show it; ``base`` is the path or name of the recipe, empty if unreadable.

    ``title`` is its name, with a time where other runs have the same name. ``lacks_base``: it was
    imported, and its base is not on this machine or not known.
    """

    record: RunRecord
    base: str
    base_name: str
    data_names: str
    title: str
    lacks_base: bool = False

    @property
    def folder(self) -> str:
        """The folder of the run, by which pages name it to each other."""
        return str(self.record.folder)

    @property
    def has_recipe(self) -> bool:
        """Whether the run's recipe can be read; a saved mix, for example, was never trained."""
        return self.data_names != UNKNOWN

    @property
    def adapter(self) -> Path | None:
        """The adapter folder of the run, None while nothing was saved."""
        name = self.record.adapter_folder
        return None if name is None else self.record.folder / name


class RunCatalog:
    """Lists runs; recipes never change, so each is read once."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._recipes: dict[Path, Recipe | None] = {}

    def load(self) -> list[RunRow]:
        """Returns all runs, newest first; takes a while, so call it in the background."""
        records = self._store.list()
        titles = build_titles(records)
        return [self._build_row(record, titles[record.folder]) for record in records]

    def _build_row(self, record: RunRecord, title: str) -> RunRow:
        if record.folder not in self._recipes:
            self._recipes[record.folder] = self._find_recipe(record)
        recipe = self._recipes[record.folder]
        layout, names = RunLayout(record.folder), UNKNOWN
        if recipe is None:
            base = find_base(layout) or ""
        else:
            chosen = find_chosen_base(layout) if record.is_imported else None
            base = chosen or self._locate(record, recipe.base.model)
            names = ", ".join(Path(source.source).name for source in recipe.data.train)
        base_name = get_base_name(base) if base else UNKNOWN
        lacks_base = record.is_imported and not _is_here(base)
        return RunRow(record, base, base_name, names, title, lacks_base)

    def _find_recipe(self, record: RunRecord) -> Recipe | None:
        try:
            return self._store.load_recipe(record)
        except StudioError:
            return None  # the row is still listed; opening the run says what is wrong with it

    def _locate(self, record: RunRecord, model: str) -> str:
        """Returns the absolute path of a base that the recipe names relative to its own folder."""
        start = find_base_folder(RunLayout(record.folder))
        path = Path(start) / model if start else Path(model)
        return str(path) if path.is_dir() else model


def _is_here(base: str) -> bool:
    return bool(base) and (Path(base).is_dir() or find_hub_snapshot(base) is not None)


def get_base_name(base: str) -> str:
    """Returns the last part of a path or hub name that says something."""
    path = Path(base)
    if path.name.lower() in _PLAIN_NAMES and path.parent.name:
        return path.parent.name
    return path.name or base
