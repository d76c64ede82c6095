"""A row of coloured names with the value of each curve below the pointer, or its last one."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QSpacerItem, QWidget

from studio.gui.widgets.labels import PlainLabel, plain_tooltip

_GAP = 10


class Swatch(QWidget):
    """A small rounded square in one colour."""

    def __init__(self, colour: str = "#808080", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._colour = QColor(colour)
        self.setFixedSize(self.sizeHint())

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Returns a square of ten pixels."""
        return QSize(10, 10)

    def show_colour(self, colour: str) -> None:
        """Fills the square with another colour."""
        self._colour = QColor(colour)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name
        """Draws the square."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._colour)
        painter.drawRoundedRect(self.rect(), 2, 2)


class Legend(QWidget):
    """Names of curves, each beside its colour, with one value."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries: dict[str, tuple[Swatch, PlainLabel, PlainLabel]] = {}
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(6)
        self._row.addStretch(1)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def add_entry(self, key: str, name: str, explanation: str = "") -> None:
        """Adds one name at the right end, with words for below the pointer."""
        swatch = Swatch()
        gap = QSpacerItem(_GAP if self._entries else 0, 0)
        label = PlainLabel(name, "muted", wraps=False)
        if explanation:
            label.setToolTip(plain_tooltip(explanation))
        value = PlainLabel("", "strong", wraps=False)
        value.setMinimumWidth(value.fontMetrics().horizontalAdvance("0.0000 "))
        position = self._row.count() - 1
        self._row.insertItem(position, gap)
        position += 1
        for offset, widget in enumerate((swatch, label, value)):
            self._row.insertWidget(position + offset, widget)
        self._entries[key] = (swatch, label, value)

    def show_name(self, key: str, name: str) -> None:
        """Calls one curve by another name."""
        self._entries[key][1].setText(name)

    def show_value(self, key: str, text: str) -> None:
        """Shows the value of one curve; empty text hides its name too."""
        swatch, label, value = self._entries[key]
        value.setText(text)
        for widget in (swatch, label, value):
            widget.setVisible(bool(text))

    def show_colour(self, key: str, colour: str) -> None:
        """Repaints the square of one name."""
        self._entries[key][0].show_colour(colour)
