"""Numbers in a grid as coloured squares, with the exact ones below the pointer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QBrush,
    QColor,
    QFocusEvent,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from studio.gui.plots.heat_scale import HeatScale, get_text_colour
from studio.gui.theme.tokens import SIZES, Colours, colours_of
from studio.gui.widgets.labels import plain_tooltip

_CELL_HEIGHT = 24
_WIDEST_CELL = 64
_WIDEST_NAME = 190
_GAP_FROM = 9
_MOST_NAMED = 12
_MOVES = {
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
}


@dataclass(frozen=True)
class HeatTable:
    """Names and numbers, ``values[row][column]``; None is a place without a number.

    ``describe`` returns all that is to be said about a place.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float | None]]
    describe: Callable[[int, int], str]


class HeatMap(QWidget):
    """Draws a table; the pointer or the arrow keys walk over it.

    ``writes_numbers``: numbers stand in the squares where they fit.

    Signals:
        pointed: What is to be said about the place that is looked at; empty when there is none.
    """

    pointed = Signal(str)

    def __init__(
        self, name: str, parent: QWidget | None = None, *, writes_numbers: bool = False
    ) -> None:
        super().__init__(parent)
        self._name = name
        self._writes_numbers = writes_numbers
        self._table = HeatTable((), (), (), lambda _row, _column: "")
        self._scale = HeatScale(0.0, 1.0, str)
        self._place: tuple[int, int] | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(name)

    def show_table(self, table: HeatTable, scale: HeatScale) -> None:
        """Draws other numbers in the colours of a scale."""
        self._table, self._scale, self._place = table, scale, None
        self.setAccessibleDescription("Walk with the arrow keys to hear the numbers.")
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Returns room for every line and the names below."""
        height = _CELL_HEIGHT * len(self._table.rows) + self.fontMetrics().height() + SIZES.xs
        return QSize(320, height)

    def event(self, event: QEvent) -> bool:
        """Shows the numbers of the place below the pointer."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            place = self._find_place(event.pos())
            words = "" if place is None else self._table.describe(*place)
            QToolTip.showText(event.globalPos(), plain_tooltip(words) if words else "", self)
            return True
        return super().event(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Looks at the place below the pointer."""
        self._look_at(self._find_place(event.position().toPoint()))

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Looks nowhere any more."""
        super().leaveEvent(event)
        self._look_at(None)

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802 - Qt's name
        """Looks nowhere any more."""
        super().focusOutEvent(event)
        self._look_at(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Walks to the next place."""
        move = _MOVES.get(Qt.Key(event.key()))
        if move is None or not self._table.rows or not self._table.columns:
            super().keyPressEvent(event)
            return
        row, column = self._place or (0, 0)
        if self._place is not None:
            row = max(0, min(len(self._table.rows) - 1, row + move[0]))
            column = max(0, min(len(self._table.columns) - 1, column + move[1]))
        self._look_at((row, column))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws names and squares."""
        del event
        if not self._table.rows or not self._table.columns:
            return
        painter, colours = QPainter(self), colours_of(self)
        painter.setPen(QColor(colours.text))
        names = self._name_width
        flags = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight)
        for row, name in enumerate(self._table.rows):
            area = QRectF(0, row * _CELL_HEIGHT, names - SIZES.s, _CELL_HEIGHT)
            shown = self.fontMetrics().elidedText(
                name, Qt.TextElideMode.ElideLeft, int(area.width())
            )
            painter.drawText(area, flags, shown)
            for column in range(len(self._table.columns)):
                self._draw_cell(painter, colours, row, column)
        self._draw_column_names(painter, colours)
        if self._place is not None:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(colours.text), 2))
            painter.drawRect(self._get_area(*self._place).adjusted(1, 1, -1, -1))

    def _draw_cell(self, painter: QPainter, colours: Colours, row: int, column: int) -> None:
        area = self._get_area(row, column)
        if self._cell_width >= _GAP_FROM:
            area = area.adjusted(0, 0, -1, -1)
        value = self._table.values[row][column]
        if value is None:
            painter.fillRect(area, QColor(colours.sunken))
            painter.fillRect(area, QBrush(QColor(colours.border), Qt.BrushStyle.BDiagPattern))
            return
        fill = self._scale.get_colour(value, colours)
        painter.fillRect(area, fill)
        words = self._scale.get_words(value)
        if self._writes_numbers and self.fontMetrics().horizontalAdvance(words) < area.width():
            painter.setPen(get_text_colour(fill))
            painter.drawText(area, int(Qt.AlignmentFlag.AlignCenter), words)
            painter.setPen(QColor(colours.text))

    def _draw_column_names(self, painter: QPainter, colours: Colours) -> None:
        """Names as many columns as there is room for, always the first."""
        painter.setPen(QColor(colours.muted))
        widest = max(map(self.fontMetrics().horizontalAdvance, self._table.columns)) + SIZES.s
        every = 1
        if widest > self._cell_width and len(self._table.columns) > _MOST_NAMED:
            steps = (1, 2, 4, 5, 8, 10, 16, 20, 32, 40, 50, 64, 100)
            every = next((one for one in steps if one * self._cell_width >= widest), 128)
        top = _CELL_HEIGHT * len(self._table.rows) + 2
        for column in range(0, len(self._table.columns), every):
            left = self._get_area(0, column).left()
            width = max(self._cell_width, float(widest) if every > 1 else 0.0)
            area = QRectF(left, top, width, self.fontMetrics().height())
            name = self.fontMetrics().elidedText(
                self._table.columns[column], Qt.TextElideMode.ElideMiddle, int(width)
            )
            side = Qt.AlignmentFlag.AlignHCenter if every == 1 else Qt.AlignmentFlag.AlignLeft
            painter.drawText(area, int(side), name)

    @property
    def _name_width(self) -> float:
        longest = max(map(self.fontMetrics().horizontalAdvance, self._table.rows), default=0)
        return float(min(_WIDEST_NAME, longest + SIZES.m))

    @property
    def _cell_width(self) -> float:
        room = self.width() - self._name_width - 1
        widest = 2 * _WIDEST_CELL if self._writes_numbers else _WIDEST_CELL
        return min(float(widest), room / max(1, len(self._table.columns)))

    def _get_area(self, row: int, column: int) -> QRectF:
        left = self._name_width + column * self._cell_width
        return QRectF(left, row * _CELL_HEIGHT, self._cell_width, _CELL_HEIGHT)

    def _find_place(self, point: QPoint) -> tuple[int, int] | None:
        row = point.y() // _CELL_HEIGHT
        column = int((point.x() - self._name_width) // max(0.1, self._cell_width))
        is_inside = 0 <= row < len(self._table.rows) and 0 <= column < len(self._table.columns)
        return (row, column) if is_inside else None

    def _look_at(self, place: tuple[int, int] | None) -> None:
        if place == self._place:
            return
        self._place = place
        words = "" if place is None else self._table.describe(*place)
        if words:
            self.setAccessibleDescription(words)
        self.pointed.emit(words)
        self.update()
