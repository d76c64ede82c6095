"""A question about the files with a few answers side by side, and what the chosen one means."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.gui.pages.export.options import Choice
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import PlainLabel, plain_tooltip
from studio.gui.widgets.segmented import Segmented


class OptionRow(QWidget):
    """Hidden while there is nothing to choose.

    Signals:
        chosen: The value that the user chose.
    """

    chosen = Signal(str)

    def __init__(self, title: str, help_text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self._choices: tuple[Choice, ...] = ()
        self._segments: Segmented | None = None
        words = PlainLabel(title, wraps=False)
        words.setToolTip(plain_tooltip(help_text))
        self._line = QWidget()
        self._flow = FlowRow(self._line, SIZES.m)
        self._flow.addWidget(words)
        self._help = PlainLabel("", "caption")
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.xs)
        box.addWidget(self._line)
        box.addWidget(self._help)
        self.hide()

    def show_choices(self, choices: Sequence[Choice], value: str) -> None:
        """Shows what can be chosen and what holds; without choices the row hides."""
        if tuple(choices) != self._choices:
            self._choices = tuple(choices)
            self._rebuild()
        if self._segments is not None:
            self._segments.show_value(value)
        self._help.setText(next((one.help for one in choices if one.value == value), ""))
        self.setVisible(bool(choices))

    def _rebuild(self) -> None:
        if self._segments is not None:
            self._flow.removeWidget(self._segments)
            self._segments.hide()
            self._segments.deleteLater()
            self._segments = None
        if self._choices:
            triples = [(one.value, one.words, "") for one in self._choices]
            self._segments = Segmented(self._title, triples)
            self._segments.chosen.connect(self.chosen)
            self._flow.addWidget(self._segments)
            self._segments.show()
