"""The heads of all columns in a row that moves sideways with the answers below."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from studio.gui.pages.compare.column_head import ColumnHead
from studio.gui.pages.compare.exchange_view import COLUMN_GAP
from studio.gui.pages.compare.line_up import Column
from studio.gui.theme.tokens import colours_of
from studio.gui.widgets.labels import plain_tooltip

LEAST_WIDTH = 172
MOST_WIDTH = 900
_KEY_STEP = 20


class ColumnStrip(QWidget):
    """Heads side by side with grips between them; a grip makes all columns wider or narrower.

    Signals:
        removed: Name of a column that is to leave.
        strength_chosen: Name of a column and how strongly it acts from now on.
        width_chosen: The width of the columns in pixels; 0 fills the window again.
    """

    removed = Signal(str)
    strength_chosen = Signal(str, float)
    width_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._heads: list[ColumnHead] = []
        self._grips: list[_Grip] = []
        self._width = LEAST_WIDTH
        self._offset = 0

    @property
    def heads(self) -> list[ColumnHead]:
        """The heads in the order of the columns."""
        return list(self._heads)

    def show_columns(self, columns: Sequence[Column]) -> None:
        """Shows the heads of these columns."""
        for widget in (*self._heads, *self._grips):
            widget.hide()
            widget.deleteLater()
        self._heads, self._grips = [], []
        for column in columns:
            head = ColumnHead(column, self)
            head.removed.connect(lambda name=column.name: self.removed.emit(name))
            head.strength_chosen.connect(
                lambda value, name=column.name: self.strength_chosen.emit(name, value)
            )
            grip = _Grip(self)
            grip.width_chosen.connect(self.width_chosen)
            self._heads.append(head)
            self._grips.append(grip)
            head.show()
            grip.show()
        self.setFixedHeight(max((head.sizeHint().height() for head in self._heads), default=0))
        self._place()

    def show_width(self, width: int, offset: int) -> None:
        """Makes each head ``width`` wide and begins ``offset`` pixels from the left."""
        self._width, self._offset = width, offset
        self._place()

    def _place(self) -> None:
        x = -self._offset
        for head, grip in zip(self._heads, self._grips, strict=True):
            head.setGeometry(x, 0, self._width, self.height())
            grip.setGeometry(x + self._width, 0, COLUMN_GAP, self.height())
            grip.column_width = self._width
            grip.raise_()
            x += self._width + COLUMN_GAP


class _Grip(QWidget):
    """The space right of a head: drag it, or use the arrow keys, to change the width."""

    width_chosen = Signal(int)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.column_width = LEAST_WIDTH
        self._start: tuple[QPoint, int] | None = None
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName("Width of the columns")
        self.setToolTip(
            plain_tooltip("Drag to make the columns wider or narrower; double-click to fit them.")
        )

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Takes hold of the edge."""
        self._start = event.globalPosition().toPoint(), self.column_width

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Moves the edge."""
        if self._start is not None:
            point, width = self._start
            self._choose(width + event.globalPosition().toPoint().x() - point.x())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Lets the edge go."""
        del event
        self._start = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Fits the columns into the window."""
        del event
        self._start = None
        self.width_chosen.emit(0)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Changes the width with the arrow keys; Home fits the columns into the window."""
        steps = {Qt.Key.Key_Left: -_KEY_STEP, Qt.Key.Key_Right: _KEY_STEP}
        if event.key() in steps:
            self._choose(self.column_width + steps[Qt.Key(event.key())])
        elif event.key() == Qt.Key.Key_Home:
            self.width_chosen.emit(0)
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws a small bar, brighter while it has the keyboard."""
        del event
        colours = colours_of(self)
        painter = QPainter(self)
        colour = colours.accent if self.hasFocus() else colours.border_strong
        middle = self.rect().center()
        painter.fillRect(middle.x() - 1, middle.y() - 9, 2, 18, QColor(colour))

    def _choose(self, width: int) -> None:
        self.width_chosen.emit(max(LEAST_WIDTH, min(MOST_WIDTH, width)))
