"""Surfaces that group things: cards, thin lines and rows of buttons."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.labels import PlainLabel


class Card(QFrame):
    """A raised surface with an optional heading and a line of explanation."""

    def __init__(
        self, heading: str = "", explanation: str = "", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(SIZES.l + 4, SIZES.l, SIZES.l + 4, SIZES.l + 2)
        self.body.setSpacing(SIZES.m)
        self.top = QHBoxLayout()
        self.top.setSpacing(SIZES.s)
        if heading:
            texts = QVBoxLayout()
            texts.setSpacing(2)
            texts.addWidget(PlainLabel(heading, "heading"))
            if explanation:
                texts.addWidget(PlainLabel(explanation, "muted"))
            self.top.addLayout(texts, 1)
            self.body.addLayout(self.top)
            self.setAccessibleName(heading)


class Line(QFrame):
    """A thin horizontal line between two parts of a card."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "line")
        self.setFixedHeight(1)


def build_row(*items: QWidget, spacing: int = SIZES.s, stretches: bool = True) -> QHBoxLayout:
    """Return widgets side by side, pushed to the left."""
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(spacing)
    for item in items:
        row.addWidget(item)
    if stretches:
        row.addStretch(1)
    return row
