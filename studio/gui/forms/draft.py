"""The recipe being edited: plain values, perhaps incomplete, and what is wrong with them."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from PySide6.QtCore import QObject, QTimer, Signal

from studio.core.errors import RecipeInvalid, StudioError
from studio.core.kept_values import KeptValues
from studio.core.recipe.fields import get_fields
from studio.core.recipe.load import parse_recipe
from studio.core.recipe.problem import Problem
from studio.core.recipe.schema import AdapterSettings, Recipe
from studio.gui.forms.history import History

_SAVE_DELAY_MS = 400
_log = logging.getLogger(__name__)


class Draft(QObject):
    """The one recipe that all pages edit; kept on disk, so that closing the window loses nothing.

    ``trouble`` is what was wrong with the file when the window opened, if anything was.

    Signals:
        changed: A value changed; carries its dotted path, empty when all may have changed.
        save_failed: A ``StudioError``; the values are still in memory.
    """

    changed = Signal(str)
    save_failed = Signal(object)

    def __init__(self, path: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._path = path
        self._file = KeptValues(path, "The settings of your next run")
        self._values = merge_values(build_defaults(), self._file.load())
        self.trouble = self._file.trouble
        self._seen = self._look()
        self._recipe: Recipe | None = None
        self._problems: tuple[Problem, ...] = ()
        self.history = History(self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SAVE_DELAY_MS)
        self._timer.timeout.connect(self.save)
        self._judge()

    @property
    def recipe(self) -> Recipe | None:
        """The recipe as it is now, or None while something in it is wrong or missing."""
        return self._recipe

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong with the values, missing model and data included."""
        return self._problems

    @property
    def base_folder(self) -> Path:
        """Where relative paths of the recipe start; the window itself keeps absolute ones."""
        return self._path.parent

    def get_value(self, path: str) -> Any:
        """Return the value at a dotted path.

        Raises:
            KeyError: The recipe has no such setting.
        """
        place: Any = self._values
        for name in path.split("."):
            place = place[name]
        return copy.deepcopy(place)

    def get_values(self) -> dict[str, Any]:
        """Return a copy of all values, as plain mappings and lists."""
        return copy.deepcopy(self._values)

    def set_value(self, path: str, value: Any) -> None:
        """Changes the value at a dotted path and tells the listeners."""
        *groups, name = path.split(".")
        place: Any = self._values
        for group in groups:
            place = place[group]
        if name in place and place[name] == value and type(place[name]) is type(value):
            return
        self.history.note(path, self._values, is_series=True)
        place[name] = copy.deepcopy(value)
        self._note_change(path)

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Changes several dotted paths at once; the listeners hear of it once."""
        self.history.note("several settings", self._values)
        for path, value in values.items():
            *groups, name = path.split(".")
            place: Any = self._values
            for group in groups:
                place = place[group]
            place[name] = copy.deepcopy(value)
        self._note_change("")

    def load(self, recipe: Recipe) -> None:
        """Takes over all values of a recipe, for example to train an old run once more."""
        self.history.note("the whole recipe", self._values)
        self._values = merge_values(build_defaults(), recipe.model_dump(mode="json"))
        self._note_change("")

    def undo(self) -> None:
        """Takes the last change back; nothing where there is none."""
        values = self.history.take_back()
        if values is not None:
            self._values = values
            self._note_change("")

    def refresh(self) -> None:
        """Takes over what another window on the same home has saved; asked when this one wakes.

        A person works in one window at a time, so whoever comes back sees the newest values, and
        no window writes old ones over them. Undo brings this window's own values back.
        """
        seen = self._look()
        if seen in (None, self._seen) or self._timer.isActive():
            return
        self._seen = seen
        values = merge_values(build_defaults(), self._file.load())
        if self._file.trouble is None and values != self._values:
            self.history.note("changes in another window", self._values)
            self._values = values
            self._judge()
            self.changed.emit("")

    def save(self) -> None:
        """Writes the values to disk now; called by itself shortly after each change."""
        self._timer.stop()
        try:
            self._file.save(self._values)
            self._seen = self._look()
        except StudioError as error:
            _log.warning("draft not saved: %s", error)
            self.save_failed.emit(error)

    def close(self) -> None:
        """Writes what has not been written yet; the draft is not used afterwards."""
        if self._timer.isActive():
            self.save()

    def _look(self) -> tuple[int, int, int] | None:
        """Returns what tells one state of the file from the next, None while there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _note_change(self, path: str) -> None:
        self._judge()
        self._timer.start()
        self.changed.emit(path)

    def _judge(self) -> None:
        try:
            self._recipe = parse_recipe(self._values)
            self._problems = ()
        except RecipeInvalid as error:
            self._recipe = None
            self._problems = tuple(p for p in error.problems if isinstance(p, Problem))


def find_adapter_settings(draft: Draft) -> AdapterSettings | None:
    """Return the adapter's part of the draft by itself, or None while it breaks a rule."""
    text = json.dumps(draft.get_values()["adapter"])
    try:
        return AdapterSettings.model_validate_json(text, strict=True)
    except ValidationError:
        return None


def build_defaults() -> dict[str, Any]:
    """Return the values of a new recipe: every default, an empty model and no data."""
    values: dict[str, Any] = {}
    for spec in get_fields():
        if "[]" in spec.path or spec.path.count(".") > 1:
            continue
        group = values.setdefault(spec.section, {}) if spec.section else values
        group[spec.name] = copy.deepcopy(spec.default)
    values["base"]["model"] = ""
    values["data"]["train"] = []
    return values


def merge_values(defaults: dict[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults with known keys of ``kept`` put over them; unknown keys are left out."""
    merged = copy.deepcopy(defaults)
    for name, value in kept.items():
        if name not in merged:
            continue
        if name in ("base", "data", "adapter", "train"):
            if isinstance(value, Mapping):
                merged[name] |= {key: v for key, v in value.items() if key in merged[name]}
        else:
            merged[name] = value
    return merged
