"""A coloured bar that says what is wrong or good to know, why, and what to do."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.icon import Icon, Tone
from studio.gui.widgets.labels import PlainLabel, allow_breaks, repolish

Severity = Literal["note", "success", "warning", "error"]
_TONES: dict[Severity, Tone] = {
    "note": "accent",
    "success": "success",
    "warning": "warning",
    "error": "error",
}


class Notice(QFrame):
    """A message in place; hidden until something is shown.

    Signals:
        action_requested: The button beside the message was pressed.
    """

    action_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icon = Icon("note", "accent")
        self._message = PlainLabel("", "strong")
        self._remedy = PlainLabel()
        for label in (self._message, self._remedy):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._action = Button("", kind="quiet")
        self._action.clicked.connect(self.action_requested)
        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addWidget(self._message)
        texts.addWidget(self._remedy)
        row = QHBoxLayout(self)
        row.setContentsMargins(SIZES.m, SIZES.m - 2, SIZES.m, SIZES.m - 2)
        row.setSpacing(SIZES.m)
        row.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(texts, 1)
        row.addWidget(self._action, 0, Qt.AlignmentFlag.AlignVCenter)
        self._action.hide()
        self.hide()

    def show_message(
        self, severity: Severity, message: str, remedy: str = "", action: str = ""
    ) -> None:
        """Shows a message, what to do about it, and a button when ``action`` is its text."""
        self.setProperty("kind", severity)
        self._icon.show_icon(severity, _TONES[severity])
        self._message.setText(allow_breaks(message))
        self._remedy.setText(allow_breaks(remedy))
        self._remedy.setVisible(bool(remedy))
        self._action.set_text_and_icon(action, "")
        self._action.setVisible(bool(action))
        self.setAccessibleName(f"{severity}: {message} {remedy}".strip())
        repolish(self)
        self.show()

    def show_error(self, error: StudioError, action: str = "") -> None:
        """Shows what an error says and what to do about it."""
        self.show_message("error", error.message, error.remedy, action)

    def clear(self) -> None:
        """Hides the message."""
        self.hide()
