"""A bar of coloured parts against a limit, such as the memory of a card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QHelpEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from studio.gui.theme.tokens import SIZES, Colours, blend, colours_of
from studio.gui.widgets.labels import plain_tooltip

_HEIGHT = 22
_NARROWEST = 1.5
_FADES = (0.0, 0.4, 0.65, 0.8)


@dataclass(frozen=True)
class Segment:
    """One part of the bar.

    ``colour`` is the place of its colour in the theme's series, -1 the theme's grey; ``fade``
    (0 to 3) makes it paler, for parts of one family.
    """

    label: str
    size: float
    tooltip: str
    colour: int
    fade: int = 0


class StackedBar(QWidget):
    """Parts side by side; what goes beyond the limit is hatched. Hovering tells the part."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._segments: tuple[Segment, ...] = ()
        self._limit = 0.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(_HEIGHT)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size that fits into every card."""
        return QSize(160, _HEIGHT)

    def show_segments(self, segments: Sequence[Segment], limit: float) -> None:
        """Shows parts against a limit in the same unit; no parts give an empty track."""
        self._segments = tuple(segment for segment in segments if segment.size > 0)
        self._limit = limit
        self.update()

    def find_segment(self, x: float) -> Segment | None:
        """Return the part that is drawn at ``x`` pixels from the left, or None."""
        return next((s for s, left, width in self._places() if left <= x < left + width), None)

    def event(self, event: QEvent) -> bool:
        """Shows the tooltip of the part under the pointer."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            segment = self.find_segment(event.pos().x())
            text = "" if segment is None else plain_tooltip(segment.tooltip)
            QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws track, parts, and the limit where it is exceeded."""
        del event
        colours = colours_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        shape = QPainterPath()
        shape.addRoundedRect(frame, SIZES.radius, SIZES.radius)
        painter.fillPath(shape, QColor(colours.sunken))
        painter.setClipPath(shape)
        for segment, left, width in self._places():
            painter.fillRect(QRectF(left, 0, width, _HEIGHT), get_segment_colour(colours, segment))
        self._paint_excess(painter, colours)
        painter.setClipping(False)
        painter.setPen(QPen(QColor(colours.border_strong), 1))
        painter.drawPath(shape)

    def _paint_excess(self, painter: QPainter, colours: Colours) -> None:
        total = sum(segment.size for segment in self._segments)
        if total <= self._limit or total <= 0:
            return
        edge = self.width() * self._limit / total
        area = QRectF(edge, 0, self.width() - edge, _HEIGHT)
        veil = QColor(colours.surface)
        veil.setAlpha(120)
        painter.fillRect(area, veil)
        painter.fillRect(area, QBrush(QColor(colours.error), Qt.BrushStyle.BDiagPattern))
        painter.setPen(QPen(QColor(colours.error), 2))
        painter.drawLine(QPointF(edge, 0), QPointF(edge, _HEIGHT))

    def _places(self) -> list[tuple[Segment, float, float]]:
        """Return every part with its left edge and its width in pixels."""
        total = sum(segment.size for segment in self._segments)
        whole = max(total, self._limit)
        if whole <= 0:
            return []
        places, left = [], 0.0
        for segment in self._segments:
            width = max(_NARROWEST, self.width() * segment.size / whole)
            places.append((segment, left, width))
            left += width
        return places


class Swatch(QWidget):
    """A small square in the colour of a part, for the legend."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._segment = Segment("", 0, "", -1)
        self.setFixedSize(12, 12)

    def show_segment(self, segment: Segment) -> None:
        """Takes the colour of a part."""
        self._segment = segment
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws the square."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(get_segment_colour(colours_of(self), self._segment))
        painter.drawRoundedRect(self.rect(), 3, 3)


def get_segment_colour(colours: Colours, segment: Segment) -> QColor:
    """Return the colour of a part in a theme."""
    plain = colours.faint if segment.colour < 0 else colours.series[segment.colour]
    return blend(plain, colours.surface, _FADES[segment.fade])
