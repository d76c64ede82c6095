"""Puts another base model into the draft, and leaves the starter's own settings behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QObject

from studio.core.starter import StarterKit
from studio.gui.context import Context
from studio.gui.forms.draft import build_defaults
from studio.gui.widgets.notice import Notice

_SET_BACK = "The settings that suit the starter are set back to the usual ones."
_WHY = (
    "Its tiny model learns best with large steps and a small adapter; yours would suffer. Undo on "
    "the page Recipe brings them back."
)


class ModelChoice(QObject):
    """Chooses the draft's model; what changes beside it is told in ``notice``."""

    def __init__(self, context: Context, notice: Notice, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._draft, self._shelf = context.draft, context.shelf
        self._starter = context.starter
        self._notice = notice

    def choose(self, reference: str, commit: str = "") -> None:
        """Takes the model of that folder or name, at a commit of the hub where one is given."""
        self._shelf.forget(reference)
        self._notice.clear()
        changes: dict[str, Any] = {"base.model": reference, "base.revision": commit or None}
        left = find_starter_settings(self._starter, self._draft.get_values(), reference)
        if left:
            self._notice.show_message("note", _SET_BACK, _WHY)
        self._draft.set_values({**left, **changes})


def find_starter_settings(
    starter: StarterKit | None, values: Mapping[str, Any], model: str
) -> dict[str, Any]:
    """Return defaults for the settings that are still as the starter wants them, by dotted path.

    Empty unless ``model`` takes the place of the starter's own. Its rate of learning alone would
    spoil a model of common size without a word.
    """
    if starter is None:
        return {}
    own = str(starter.model_folder)
    if values["base"]["model"] != own or model == own:
        return {}
    defaults = build_defaults()
    found: dict[str, Any] = {}
    for group, settings in starter.settings.items():
        for name, value in settings.items():
            if values[group][name] == value != defaults[group][name]:
                found[f"{group}.{name}"] = defaults[group][name]
    if values["name"] in {data_set.title for data_set in starter.data_sets}:
        found["name"] = defaults["name"]
    return found
