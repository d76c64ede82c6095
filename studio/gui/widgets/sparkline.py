"""A curve of a few numbers, as large as a word."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.gui.theme.tokens import Colours, colours_of

_DOT = 2.2


def draw_curve(
    painter: QPainter, area: QRectF, values: Sequence[float], top: float, colours: Colours
) -> None:
    """Draws numbers from left to right between 0 and ``top``; the last one is marked."""
    if not values or top <= 0:
        return
    step = area.width() / max(1, len(values) - 1)
    points = [
        QPointF(area.left() + place * step, area.bottom() - min(1.0, value / top) * area.height())
        for place, value in enumerate(values)
    ]
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(colours.border), 1))
    painter.drawLine(area.bottomLeft(), area.bottomRight())
    painter.setPen(QPen(QColor(colours.accent), 1.6))
    painter.drawPolyline(points)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colours.accent))
    dots = points if len(points) <= area.width() / 8 else points[-1:]
    for point in dots:
        painter.drawEllipse(point, _DOT, _DOT)
    painter.restore()


class Sparkline(QWidget):
    """Such a curve as a widget; its numbers are spoken."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: tuple[float, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Returns a size beside a few lines of text."""
        return QSize(160, 48)

    def show_values(self, values: Sequence[float], name: str) -> None:
        """Shows numbers; ``name`` says what they are."""
        self._values = tuple(values)
        numbers = ", ".join(f"{value:.2f}" for value in values)
        self.setAccessibleName(f"{name}: {numbers}")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws the curve from zero to its highest value."""
        del event
        painter = QPainter(self)
        area = QRectF(self.rect()).adjusted(4, 6, -4, -4)
        draw_curve(painter, area, self._values, max(self._values, default=0.0), colours_of(self))
