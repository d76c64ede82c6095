"""The typefaces of the window: the system's own where it has one, else the best that is there."""

from __future__ import annotations

import sys

from PySide6.QtGui import QFont, QFontDatabase

from studio.gui.theme.tokens import SIZES

_PREFERRED = (
    "Inter",
    "Noto Sans",
    "Cantarell",
    "Ubuntu",
    "Open Sans",
    "Source Sans 3",
    "Roboto",
    "Noto Sans CJK SC",
    "DejaVu Sans",
)
_GENERIC = ("", "Sans Serif", "Sans", "DejaVu Sans")


def build_text_font() -> QFont:
    """Return the font of the window; a bare Linux names none, so a good one is looked for."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
    if sys.platform not in ("win32", "darwin") and font.family() in _GENERIC:
        there = set(QFontDatabase.families())
        families = [family for family in _PREFERRED if family in there]
        if families:
            font = QFont(families)
    font.setPixelSize(SIZES.body)
    return font


def build_mono_font(pixels: int = SIZES.caption + 1) -> QFont:
    """Return the font of a fixed width, for tokens, code and numbers in columns."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    font.setPixelSize(pixels)
    return font
