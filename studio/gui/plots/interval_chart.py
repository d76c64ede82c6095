"""Values with their intervals, one line each, around the value of the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QHelpEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from studio.gui.theme.tokens import SIZES, Colours, colours_of
from studio.gui.widgets.icon import Tone, get_tone
from studio.gui.widgets.labels import plain_tooltip

_LINE = 34
_NAME_SHARE = 0.28
_VALUE_WIDTH = 84
_DOT = 5.0


@dataclass(frozen=True)
class Interval:
    """One value from ``low`` to ``high``; ``words`` are shown on hover."""

    name: str
    value: float
    low: float
    high: float
    tone: Tone = "accent"
    words: str = ""


class IntervalChart(QWidget):
    """A dot per value on its interval; a dashed line stands at the first value."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._intervals: tuple[Interval, ...] = ()
        self._format: Callable[[float], str] = str
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_intervals(
        self, intervals: Sequence[Interval], get_words: Callable[[float], str]
    ) -> None:
        """Draws other values; ``get_words`` writes a value as text."""
        self._intervals = tuple(intervals)
        self._format = get_words
        self.setAccessibleName(
            "; ".join(f"{one.name}: {get_words(one.value)}" for one in intervals) or "No values"
        )
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Returns room for every line."""
        return QSize(320, _LINE * len(self._intervals) + SIZES.s)

    def event(self, event: QEvent) -> bool:
        """Shows the words of the line below the pointer."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            index = event.pos().y() // _LINE
            if 0 <= index < len(self._intervals):
                QToolTip.showText(event.globalPos(), plain_tooltip(self._intervals[index].words))
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws all lines."""
        del event
        if not self._intervals:
            return
        colours = colours_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        left = self.width() * _NAME_SHARE
        area = QRectF(left, 0, self.width() - left - _VALUE_WIDTH, _LINE * len(self._intervals))
        low = min(one.low for one in self._intervals)
        high = max(one.high for one in self._intervals)
        span = (high - low) or abs(high) or 1.0

        def place(value: float) -> float:
            return area.left() + 8 + (value - low) / span * (area.width() - 16)

        painter.setPen(QPen(QColor(colours.border_strong), 1, Qt.PenStyle.DashLine))
        middle = place(self._intervals[0].value)
        painter.drawLine(QPointF(middle, 2), QPointF(middle, area.bottom() - 2))
        for index, one in enumerate(self._intervals):
            self._draw_line(painter, colours, one, index * _LINE, place)

    def _draw_line(
        self,
        painter: QPainter,
        colours: Colours,
        one: Interval,
        top: float,
        place: Callable[[float], float],
    ) -> None:
        middle = top + _LINE / 2
        colour = QColor(get_tone(colours, one.tone))
        name_area = QRectF(0, top, self.width() * _NAME_SHARE - SIZES.s, _LINE)
        flags = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        painter.setPen(QColor(colours.text))
        name = self.fontMetrics().elidedText(
            one.name, Qt.TextElideMode.ElideMiddle, int(name_area.width())
        )
        painter.drawText(name_area, flags, name)
        painter.setPen(QPen(colour, 2))
        painter.drawLine(QPointF(place(one.low), middle), QPointF(place(one.high), middle))
        for end in (one.low, one.high):
            painter.drawLine(QPointF(place(end), middle - 4), QPointF(place(end), middle + 4))
        painter.setBrush(colour)
        painter.drawEllipse(QPointF(place(one.value), middle), _DOT, _DOT)
        painter.setPen(QColor(colours.text))
        value_area = QRectF(self.width() - _VALUE_WIDTH, top, _VALUE_WIDTH, _LINE)
        right = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight)
        painter.drawText(value_area, right, self._format(one.value))
