"""The Qt palette of a theme, every role and group spelt out so that no platform colour leaks in."""

from __future__ import annotations

from PySide6.QtGui import QColor, QPalette

from studio.gui.theme.tokens import Colours

_Role = QPalette.ColorRole
_Group = QPalette.ColorGroup


def build_palette(colours: Colours) -> QPalette:
    """Return a palette with the given colours for the active, inactive and disabled groups."""
    enabled = {
        _Role.Window: colours.window,
        _Role.WindowText: colours.text,
        _Role.Base: colours.surface,
        _Role.AlternateBase: colours.sunken,
        _Role.ToolTipBase: colours.raised,
        _Role.ToolTipText: colours.text,
        _Role.PlaceholderText: colours.faint,
        _Role.Text: colours.text,
        _Role.Button: colours.surface,
        _Role.ButtonText: colours.text,
        _Role.BrightText: colours.error,
        _Role.Link: colours.accent,
        _Role.LinkVisited: colours.accent,
        _Role.Highlight: colours.accent,
        _Role.HighlightedText: colours.on_accent,
        _Role.Accent: colours.accent,
        _Role.Light: colours.raised,
        _Role.Midlight: colours.border,
        _Role.Mid: colours.border_strong,
        _Role.Dark: colours.border_strong,
        _Role.Shadow: "#000000",
    }
    dimmed = {
        _Role.WindowText: colours.faint,
        _Role.Text: colours.faint,
        _Role.ButtonText: colours.faint,
        _Role.Base: colours.window,
        _Role.Button: colours.window,
        _Role.Highlight: colours.border_strong,
        _Role.HighlightedText: colours.text,
        _Role.Accent: colours.border_strong,
    }
    palette = QPalette()
    for role, colour in enabled.items():
        palette.setColor(_Group.Active, role, QColor(colour))
        palette.setColor(_Group.Inactive, role, QColor(colour))
        palette.setColor(_Group.Disabled, role, QColor(dimmed.get(role, colour)))
    return palette
