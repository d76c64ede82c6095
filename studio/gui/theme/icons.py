"""Line icons from SVG files, drawn in whatever colour the theme asks for."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from studio.core.errors import FileUnusable
from studio.core.resources import resource_folder

_RATIOS = (1.0, 2.0)


def find_icon_file(name: str) -> Path:
    """Return the path of an icon's SVG file, without the ending in ``name``.

    Raises:
        FileUnusable: The installation is incomplete.
    """
    path = resource_folder() / "icons" / f"{name}.svg"
    if not path.is_file():
        raise FileUnusable(
            f"The icon {name} is missing from the installation.", "Install LoRA Studio again."
        )
    return path


@lru_cache(maxsize=128)
def _load_source(name: str) -> str:
    return find_icon_file(name).read_text(encoding="utf-8")


def build_renderer(name: str, colour: str) -> QSvgRenderer:
    """Return a renderer of an icon whose lines have the given ``#rrggbb`` colour."""
    source = _load_source(name).replace("currentColor", colour)
    return QSvgRenderer(QByteArray(source.encode()))


def build_pixmap(name: str, colour: str, size: int, ratio: float = 1.0) -> QPixmap:
    """Return an icon as a square picture of ``size`` logical pixels at a device ratio."""
    pixmap = QPixmap(QSize(round(size * ratio), round(size * ratio)))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    build_renderer(name, colour).render(painter, QRectF(0, 0, size, size))
    painter.end()
    return pixmap


@lru_cache(maxsize=256)
def build_icon(name: str, colour: str, disabled: str | None = None, size: int = 18) -> QIcon:
    """Return an icon in one colour, with another for its disabled state."""
    icon = QIcon()
    for ratio in _RATIOS:
        icon.addPixmap(build_pixmap(name, colour, size, ratio), QIcon.Mode.Normal)
        if disabled is not None:
            icon.addPixmap(build_pixmap(name, disabled, size, ratio), QIcon.Mode.Disabled)
    return icon


def draw_icon(painter: QPainter, name: str, colour: str | QColor, area: QRectF) -> None:
    """Draw an icon into an area of a painter, sharp at every scale."""
    text = colour if isinstance(colour, str) else colour.name()
    build_renderer(name, text).render(painter, area)


def build_app_icon() -> QIcon:
    """Return the program's own icon."""
    icon = QIcon()
    for size in (16, 24, 32, 48, 64, 128, 256):
        icon.addPixmap(build_pixmap("app", "#000000", size))
    return icon
