"""Presets as cards: a few settings at once for a common purpose."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QWidget

from studio.core.errors import StudioError
from studio.core.recipe.fields import get_field_table
from studio.core.recipe.presets import Preset, load_presets
from studio.gui.forms.words import format_value
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.choice_card import ChoiceCard

_log = logging.getLogger(__name__)
_COLUMNS = 3
_ROOMY_WIDTH = 620


class PresetRow(QWidget):
    """The presets side by side.

    Signals:
        preset_chosen: The settings of the preset, by dotted path.
    """

    preset_chosen = Signal(object)

    def __init__(self, presets: Sequence[Preset], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cards: list[tuple[ChoiceCard, Mapping[str, Any]]] = []
        self._is_roomy = True
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(SIZES.s)
        for column in range(_COLUMNS):
            grid.setColumnStretch(column, 1)
        for place, preset in enumerate(presets):
            card = ChoiceCard(preset.name, preset.description)
            card.show_details(describe_values(preset.values))
            card.chosen.connect(partial(self.preset_chosen.emit, preset.values))
            self._cards.append((card, preset.values))
            grid.addWidget(card, *divmod(place, _COLUMNS))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Leaves the sentences to the tooltips where the row is narrow."""
        super().resizeEvent(event)
        is_roomy = event.size().width() >= _ROOMY_WIDTH
        if is_roomy != self._is_roomy:
            self._is_roomy = is_roomy
            for card, _values in self._cards:
                card.show_sentence(is_roomy)

    def show_values(self, values: Mapping[str, Any]) -> None:
        """Marks the presets whose settings all hold now."""
        for card, wanted in self._cards:
            card.show_chosen(all(_find(values, path) == value for path, value in wanted.items()))


def describe_values(values: Mapping[str, Any]) -> str:
    """Return the settings of a preset, one on each line, under their names in the form."""
    table = get_field_table()
    lines = [f"{table[path].label}: {format_value(value)}" for path, value in values.items()]
    return "\n".join(lines)


def _find(values: Mapping[str, Any], path: str) -> Any:
    place: Any = values
    for name in path.split("."):
        place = place.get(name) if isinstance(place, Mapping) else None
    return place


def find_presets() -> list[Preset]:
    """Return the presets that come with the program, none where they are missing or damaged."""
    try:
        return load_presets()
    except StudioError as error:
        _log.warning("no presets: %s", error)
        return []
