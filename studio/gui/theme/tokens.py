"""The design tokens: every colour, distance, radius and type size of the window, exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QWidget

_MIDDLE = 128


@dataclass(frozen=True)
class Colours:
    """The colours of one theme as ``#rrggbb``; text pairs reach a contrast of 4.5 to 1."""

    is_dark: bool
    window: str
    rail: str
    surface: str
    raised: str
    sunken: str
    border: str
    border_strong: str
    text: str
    muted: str
    faint: str
    accent: str
    accent_hover: str
    accent_pressed: str
    on_accent: str
    accent_soft: str
    success: str
    success_soft: str
    warning: str
    warning_soft: str
    error: str
    error_soft: str
    series: tuple[str, ...]


LIGHT: Final = Colours(
    is_dark=False,
    window="#f5f6f8",
    rail="#eceef2",
    surface="#ffffff",
    raised="#ffffff",
    sunken="#f0f2f5",
    border="#dfe3e8",
    border_strong="#c3cad3",
    text="#1b2028",
    muted="#586272",
    faint="#8b95a4",
    accent="#3557c9",
    accent_hover="#2c4bb4",
    accent_pressed="#243f9b",
    on_accent="#ffffff",
    accent_soft="#e6ebfb",
    success="#1d7a46",
    success_soft="#e3f4ea",
    warning="#8a5a00",
    warning_soft="#fdf3dc",
    error="#b3261e",
    error_soft="#fdeceb",
    series=("#3557c9", "#c2571a", "#1d7a46", "#a3358f", "#0f7c8a", "#8a6d00"),
)

DARK: Final = Colours(
    is_dark=True,
    window="#15181d",
    rail="#111318",
    surface="#1c2027",
    raised="#262b34",
    sunken="#121419",
    border="#2c323c",
    border_strong="#434b58",
    text="#e6e9ee",
    muted="#9da6b4",
    faint="#6d7683",
    accent="#8ea6ff",
    accent_hover="#a3b7ff",
    accent_pressed="#7d96f2",
    on_accent="#11162a",
    accent_soft="#262e4a",
    success="#6fcf97",
    success_soft="#1a3326",
    warning="#f0c05a",
    warning_soft="#37301b",
    error="#ff8f86",
    error_soft="#40211f",
    series=("#8ea6ff", "#f2a66b", "#6fcf97", "#e08fd0", "#62c8d6", "#e6c55c"),
)


@dataclass(frozen=True)
class Sizes:
    """Distances, radii, control heights and type sizes in device-independent pixels."""

    xs: int = 4
    s: int = 8
    m: int = 12
    l: int = 16  # noqa: E741 - the scale is xs s m l xl xxl
    xl: int = 24
    xxl: int = 32
    radius: int = 6
    radius_card: int = 10
    control: int = 34
    rail: int = 196
    icon: int = 18
    caption: int = 12
    body: int = 14
    heading: int = 16
    title: int = 22
    hero: int = 28


SIZES: Final = Sizes()


def colours_of(widget: QWidget) -> Colours:
    """Return the colours of the theme a widget is shown in, judged by its palette."""
    return colours_of_palette(widget.palette())


def colours_of_palette(palette: QPalette) -> Colours:
    """Return the colours that belong to a palette.

    Judged by a role that no style sheet rule changes; ``color`` rules change the text roles.
    """
    base = palette.color(QPalette.ColorRole.AlternateBase)
    return DARK if base.lightness() < _MIDDLE else LIGHT


def blend(first: str, second: str, share: float) -> QColor:
    """Return ``first`` mixed with ``second``; ``share`` 0 is all first, 1 all second."""
    a, b = QColor(first), QColor(second)
    return QColor(
        round(a.red() + (b.red() - a.red()) * share),
        round(a.green() + (b.green() - a.green()) * share),
        round(a.blue() + (b.blue() - a.blue()) * share),
    )
