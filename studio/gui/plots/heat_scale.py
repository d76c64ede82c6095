"""Colours for numbers: even steps of lightness, so that they also work without seeing hues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.gui.theme.tokens import SIZES, Colours, blend, colours_of

# From little to much; in each theme little is close to the surface and much stands out from it.
_RISING = {
    False: ("#e9eef5", "#b4cdea", "#6f9dd6", "#3263b0", "#12265c"),
    True: ("#232a37", "#2d4a80", "#4c7cc6", "#93b9f0", "#f2f0d2"),
}
# From -1 over 0 to 1, orange against blue: told apart with every kind of colour blindness.
_TWO_SIDED = {
    False: ("#a84a04", "#e3a768", "#eff1f4", "#84a9de", "#214b9d"),
    True: ("#ffb472", "#9c6029", "#2a303b", "#4467b3", "#a8c4ff"),
}
_BAR = 12
_STEPS = 24


@dataclass(frozen=True)
class HeatScale:
    """Which number has which colour, and how numbers are written.

    ``is_two_sided`` is for numbers around zero, such as cosines.
    """

    low: float
    high: float
    get_words: Callable[[float], str]
    is_two_sided: bool = False

    def get_colour(self, value: float, colours: Colours) -> QColor:
        """Returns the colour of a number; numbers outside have that of the nearest end."""
        anchors = (_TWO_SIDED if self.is_two_sided else _RISING)[colours.is_dark]
        span = self.high - self.low
        share = (value - self.low) / span if span > 0 else 0.5
        place = max(0.0, min(1.0, share)) * (len(anchors) - 1)
        index = min(int(place), len(anchors) - 2)
        return blend(anchors[index], anchors[index + 1], place - index)


def get_text_colour(fill: QColor) -> QColor:
    """Returns black or white, whichever is read better on a colour.

    Source: Web Content Accessibility Guidelines 2.1, relative luminance; both colours have the
    same contrast at 0.18.
    """
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (fill.redF(), fill.greenF(), fill.blueF())
    )
    is_light = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18
    return QColor("#000000" if is_light else "#ffffff")


class ScaleBar(QWidget):
    """The legend of a heat map: a band of all colours between its two ends in words."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scale: HeatScale | None = None
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def show_scale(self, scale: HeatScale) -> None:
        """Shows another scale."""
        self._scale = scale
        low, high = scale.get_words(scale.low), scale.get_words(scale.high)
        self.setAccessibleName(f"Colours from {low} to {high}")
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Returns room for the band and its words on one line."""
        return QSize(360, self.fontMetrics().height() + SIZES.xs)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws the words and the band."""
        del event
        if self._scale is None:
            return
        scale, colours = self._scale, colours_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QColor(colours.muted))
        words = (scale.get_words(scale.low), scale.get_words(scale.high))
        widths = [self.fontMetrics().horizontalAdvance(word) for word in words]
        flags = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        painter.drawText(QRectF(0, 0, widths[0], self.height()), flags, words[0])
        left = widths[0] + SIZES.s
        right = min(float(self.width() - widths[1] - SIZES.s), left + 260.0)
        end = QRectF(right + SIZES.s, 0, widths[1], self.height())
        painter.drawText(end, flags, words[1])
        gradient = QLinearGradient(QPointF(left, 0), QPointF(right, 0))
        for step in range(_STEPS + 1):
            value = scale.low + (scale.high - scale.low) * step / _STEPS
            gradient.setColorAt(step / _STEPS, scale.get_colour(value, colours))
        painter.setPen(QColor(colours.border_strong))
        painter.setBrush(gradient)
        painter.drawRoundedRect(
            QRectF(left, (self.height() - _BAR) / 2, max(8.0, right - left), _BAR), 3, 3
        )
