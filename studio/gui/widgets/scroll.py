"""A part of a page that scrolls up and down, never sideways."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QLayout, QScrollArea, QWidget


def build_scroll_area(content: QLayout, max_width: int = 0) -> QScrollArea:
    """Return an area without a frame around a layout; ``max_width`` 0 means any width."""
    widget = QWidget()
    widget.setProperty("role", "scrolled")
    widget.setLayout(content)
    if max_width:
        widget.setMaximumWidth(max_width)
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setWidget(widget)
    return area
