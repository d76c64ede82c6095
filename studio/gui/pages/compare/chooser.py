"""Which base and which adapters are compared."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from studio.gui.parts.adapter_buttons import AddAdapterButton, BaseButton
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import PlainLabel, plain_tooltip
from studio.gui.widgets.switch import Switch


class Chooser(QWidget):
    """The base, a button to add adapters, and two switches about how answers are shown.

    Signals:
        marks_switched: Whether words that differ from the first column are coloured.
        blind_switched: Whether the next prompts are asked without names.
    """

    marks_switched = Signal(bool)
    blind_switched = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.base, self.add = BaseButton(), AddAdapterButton()
        self._marks = Switch("Colour differences")
        self._marks.setChecked(True)
        self._marks.toggled.connect(self.marks_switched)
        self._blind = Switch("Blind test")
        self._blind.toggled.connect(self.blind_switched)
        row = FlowRow(self)
        row.addWidget(self.base)
        row.addWidget(self.add)
        row.addWidget(
            _label(
                self._marks,
                "Colour differences",
                "Colours the words that the first column does not have.",
            )
        )
        row.addWidget(
            _label(
                self._blind,
                "Blind test",
                "The next answers come without names and in random order. You vote for the best; "
                "then the names are shown and the ranks are updated.",
            )
        )

    def show_selection(self, base: str, adapters: int) -> None:
        """Shows the base, and whether there are enough columns for a blind test."""
        self.base.show_base(base)
        self._blind.setEnabled(adapters > 0)
        if not adapters:
            self._blind.setChecked(False)


def _label(switch: Switch, words: str, help_text: str) -> QWidget:
    """Returns a switch with its words, which explain themselves on hover."""
    box = QWidget()
    row = QHBoxLayout(box)
    row.setContentsMargins(SIZES.xs, 0, 0, 0)
    row.setSpacing(SIZES.xs)
    row.addWidget(switch)
    row.addWidget(PlainLabel(words, wraps=False))
    box.setToolTip(plain_tooltip(help_text))
    switch.setAccessibleDescription(help_text)
    return box
