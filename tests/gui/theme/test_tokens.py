from __future__ import annotations

import pytest
from PySide6.QtGui import QColor, QPalette

from studio.gui.theme.palette import build_palette
from studio.gui.theme.stylesheet import build_stylesheet
from studio.gui.theme.tokens import DARK, LIGHT, Colours, colours_of_palette

THEMES = pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])


def get_contrast(first: str, second: str) -> float:
    """Return the contrast of two colours as WCAG 2.1 defines it."""

    def get_luminance(colour: str) -> float:
        parts = [c / 255 for c in QColor(colour).getRgb()[:3]]
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((get_luminance(first), get_luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_on_white_is_21() -> None:
    assert get_contrast("#000000", "#ffffff") == pytest.approx(21)


@THEMES
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("text", "window"),
        ("text", "surface"),
        ("text", "accent_soft"),
        ("muted", "window"),
        ("muted", "surface"),
        ("muted", "sunken"),
        ("muted", "rail"),
        ("accent", "surface"),
        ("accent", "accent_soft"),
        ("on_accent", "accent"),
        ("on_accent", "accent_hover"),
        ("success", "success_soft"),
        ("warning", "warning_soft"),
        ("warning", "surface"),
        ("error", "error_soft"),
        ("error", "surface"),
    ],
)
def test_text_can_be_read_on_its_ground(colours: Colours, text: str, ground: str) -> None:
    assert get_contrast(getattr(colours, text), getattr(colours, ground)) >= 4.5


@THEMES
def test_a_palette_tells_its_theme(colours: Colours) -> None:
    assert colours_of_palette(build_palette(colours)) is colours


@THEMES
def test_a_palette_names_every_colour_of_every_group(colours: Colours) -> None:
    palette = build_palette(colours)
    roles = [role for role in QPalette.ColorRole if role != QPalette.ColorRole.NColorRoles]
    groups = (QPalette.ColorGroup.Active, QPalette.ColorGroup.Inactive)
    for group in (*groups, QPalette.ColorGroup.Disabled):
        for role in roles:
            if role != QPalette.ColorRole.NoRole:
                assert palette.isBrushSet(group, role), (group, role)


@THEMES
def test_the_style_sheet_leaves_no_token_open(colours: Colours) -> None:
    sheet = build_stylesheet(
        colours, {"up": "u.svg", "down": "d.svg", "right": "r.svg", "check": "c.svg"}
    )
    assert "$" not in sheet
    assert sheet.count("{") == sheet.count("}")
