"""Text on the screen: always plain text, in the few styles of the theme."""

from __future__ import annotations

import html
import re
from typing import Literal

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

Role = Literal[
    "body",
    "hero",
    "title",
    "heading",
    "strong",
    "muted",
    "caption",
    "overline",
    "number",
    "error",
    "warning",
    "success",
]
_LONG_WORD = 16
_BREAKS = re.compile(r"[._/\\-](?=\w)")
ChipKind = Literal["plain", "accent", "success", "warning", "error"]


class PlainLabel(QLabel):
    """A label that never interprets its text, so that text from outside stays text."""

    def __init__(
        self,
        text: str = "",
        role: Role = "body",
        parent: QWidget | None = None,
        *,
        wraps: bool = True,
    ) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(wraps)
        self.setProperty("role", role)
        self.setText(text)
        if wraps:
            policy = self.sizePolicy()
            policy.setHorizontalPolicy(QSizePolicy.Policy.Preferred)
            policy.setVerticalPolicy(QSizePolicy.Policy.Minimum)
            policy.setHeightForWidth(True)
            self.setSizePolicy(policy)

    def set_role(self, role: Role) -> None:
        """Changes the style of the text."""
        if self.property("role") != role:
            self.setProperty("role", role)
            repolish(self)


class ElidedLabel(PlainLabel):
    """One line of text that is shortened in the middle where it does not fit; hover shows all."""

    def __init__(
        self,
        text: str = "",
        role: Role = "body",
        parent: QWidget | None = None,
        *,
        mode: Qt.TextElideMode = Qt.TextElideMode.ElideMiddle,
    ) -> None:
        self._mode = mode
        super().__init__(text, role, parent, wraps=False)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def setText(self, text: str) -> None:  # noqa: N802 - Qt's name
        """Shows another text; line breaks become spaces."""
        line = " ".join(text.split())
        super().setText(line)
        self.setToolTip(plain_tooltip(line) if len(line) > 24 else "")

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Returns a small width, because the text can be shortened."""
        return QSize(min(60, super().sizeHint().width()), super().sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws as much of the text as fits."""
        del event
        painter = QPainter(self)
        painter.setFont(self.font())
        painter.setPen(self.palette().color(self.foregroundRole()))
        text = self.fontMetrics().elidedText(self.text(), self._mode, self.width())
        painter.drawText(self.rect(), int(self.alignment()), text)


class Chip(PlainLabel):
    """A small coloured word, such as the state of a run."""

    def __init__(
        self, text: str = "", kind: ChipKind = "plain", parent: QWidget | None = None
    ) -> None:
        super().__init__(text, "body", parent, wraps=False)
        self.setProperty("chip", kind)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def show_state(self, text: str, kind: ChipKind) -> None:
        """Shows another word in another colour."""
        self.setText(text)
        if self.property("chip") != kind:
            self.setProperty("chip", kind)
            repolish(self)


def plain_tooltip(text: str) -> str:
    """Return text for a tooltip that wraps and shows markup characters as they are."""
    return f"<p style='white-space: pre-wrap; margin: 0'>{html.escape(text)}</p>"


def allow_breaks(text: str) -> str:
    """Return text in which long names may be broken after a dot, slash or underscore.

    A label cannot be narrower than its longest word; the sign that is put in has no width.
    """
    words = (_BREAKS.sub("\\g<0>\u200b", w) if len(w) > _LONG_WORD else w for w in text.split(" "))
    return " ".join(words)


def repolish(widget: QWidget) -> None:
    """Applies the style sheet again after a property that it looks at has changed."""
    style = widget.style()
    style.unpolish(widget)
    style.polish(widget)
    widget.update()
