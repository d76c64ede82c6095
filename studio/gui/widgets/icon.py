"""An icon as a widget of its own."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from studio.gui.theme.icons import draw_icon
from studio.gui.theme.tokens import SIZES, Colours, colours_of

Tone = Literal["text", "muted", "faint", "accent", "success", "warning", "error"]


class Icon(QWidget):
    """A line icon in a colour of the theme; purely decorative for screen readers."""

    def __init__(
        self,
        name: str,
        tone: Tone = "muted",
        size: int = SIZES.icon,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._name = name
        self._tone: Tone = tone
        self.setFixedSize(size, size)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def show_icon(self, name: str, tone: Tone) -> None:
        """Shows another icon or another colour."""
        self._name, self._tone = name, tone
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws the icon."""
        del event
        painter = QPainter(self)
        colour = get_tone(colours_of(self), self._tone)
        draw_icon(painter, self._name, colour, QRectF(self.rect()))


def get_tone(colours: Colours, tone: Tone) -> str:
    """Return the colour of a tone in a theme."""
    return {
        "text": colours.text,
        "muted": colours.muted,
        "faint": colours.faint,
        "accent": colours.accent,
        "success": colours.success,
        "warning": colours.warning,
        "error": colours.error,
    }[tone]
