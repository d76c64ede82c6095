"""Presets as cards: a few settings at once for a common purpose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.icon import Icon
from studio.gui.widgets.labels import PlainLabel, repolish


@dataclass(frozen=True)
class PresetWords:
    """A preset as the row shows it; ``values`` are settings by dotted path."""

    title: str
    sentence: str
    values: Mapping[str, Any]


class PresetCard(QFrame):
    """One preset; a click, space or return takes it over.

    Signals:
        chosen: The user wants these settings.
    """

    chosen = Signal()

    def __init__(self, title: str, sentence: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "choice")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._name = f"Preset: {title}. {sentence}"
        self.setAccessibleName(self._name)
        self._mark = Icon("success", "accent")
        top = QHBoxLayout()
        top.setSpacing(SIZES.s)
        top.addWidget(PlainLabel(title, "strong"), 1)
        top.addWidget(self._mark, 0, Qt.AlignmentFlag.AlignTop)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.m, SIZES.m, SIZES.m, SIZES.m)
        box.setSpacing(SIZES.xs)
        box.addLayout(top)
        box.addWidget(PlainLabel(sentence, "caption"))
        box.addStretch(1)
        self.show_chosen(False)

    def show_chosen(self, is_chosen: bool) -> None:
        """Marks the card when the form holds just these settings."""
        self._mark.show_icon("success" if is_chosen else "plus", "accent" if is_chosen else "faint")
        self.setProperty("chosen", is_chosen)
        self.setAccessibleName(self._name + (" In use." if is_chosen else ""))
        repolish(self)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Takes the preset over."""
        super().mouseReleaseEvent(event)
        if self.rect().contains(event.position().toPoint()):
            self.chosen.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Takes the preset over by keyboard."""
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.chosen.emit()
        else:
            super().keyPressEvent(event)


class PresetRow(QWidget):
    """The presets side by side.

    Signals:
        preset_chosen: The settings of the preset, by dotted path.
    """

    preset_chosen = Signal(object)

    def __init__(self, presets: Sequence[PresetWords], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cards: list[tuple[PresetCard, Mapping[str, Any]]] = []
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SIZES.m)
        for preset in presets:
            card = PresetCard(preset.title, preset.sentence)
            card.chosen.connect(partial(self.preset_chosen.emit, preset.values))
            self._cards.append((card, preset.values))
            row.addWidget(card, 1)

    def show_values(self, values: Mapping[str, Any]) -> None:
        """Marks the presets whose settings all hold now."""
        for card, wanted in self._cards:
            card.show_chosen(all(_find(values, path) == value for path, value in wanted.items()))


def _find(values: Mapping[str, Any], path: str) -> Any:
    place: Any = values
    for name in path.split("."):
        place = place.get(name) if isinstance(place, Mapping) else None
    return place
