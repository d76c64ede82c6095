"""A widget as a picture for documents, in the colours of its theme."""

from __future__ import annotations

from PySide6.QtCore import QBuffer, QIODevice, QPoint
from PySide6.QtGui import QColor, QPixmap
from PySide6.QtWidgets import QWidget

from studio.gui.theme.tokens import colours_of

_SHARPNESS = 2


def take_picture(widget: QWidget) -> bytes:
    """Returns a widget as PNG at twice its size, also what is scrolled out of sight."""
    pixmap = QPixmap(widget.size() * _SHARPNESS)
    pixmap.setDevicePixelRatio(_SHARPNESS)
    pixmap.fill(QColor(colours_of(widget).window))
    widget.render(pixmap, QPoint())
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    pixmap.save(buffer, "PNG")
    return bytes(buffer.data().data())
