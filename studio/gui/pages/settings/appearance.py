"""Theme and size of the window."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.segmented import Segmented

_THEMES = (
    ("system", "Like the system", "system"),
    ("light", "Light", "sun"),
    ("dark", "Dark", "moon"),
)
_SCALES = tuple((str(percent), f"{percent} %", "") for percent in (100, 125, 150, 175, 200))


class AppearanceCard(Card):
    """Choices of theme and size.

    Signals:
        theme_chosen: ``system``, ``light`` or ``dark``.
        scale_chosen: Size in percent of the system's own scale, from the next start on.
    """

    theme_chosen = Signal(str)
    scale_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Appearance", parent=parent)
        self._theme = Segmented("Theme", _THEMES)
        self._theme.chosen.connect(self.theme_chosen)
        self._scale = Segmented("Size", _SCALES)
        self._scale.chosen.connect(self._on_scale_chosen)
        self._hint = PlainLabel("Added to the scale that your system sets.", "caption")
        grid = QGridLayout()
        grid.setHorizontalSpacing(SIZES.xl)
        grid.setVerticalSpacing(SIZES.s)
        grid.addWidget(PlainLabel("Theme", wraps=False), 0, 0)
        grid.addWidget(self._theme, 0, 1)
        grid.addWidget(PlainLabel("Size of everything", wraps=False), 1, 0)
        grid.addWidget(self._scale, 1, 1)
        grid.addWidget(self._hint, 2, 1)
        grid.setColumnStretch(2, 1)
        self.body.addLayout(grid)

    def show_choices(self, theme: str, scale_percent: int) -> None:
        """Marks what holds now."""
        self._theme.show_value(theme)
        self._scale.show_value(str(scale_percent))

    def _on_scale_chosen(self, value: str) -> None:
        self._hint.setText("The new size holds from the next start of the window.")
        self.scale_chosen.emit(int(value))
