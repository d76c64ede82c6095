"""The one prompt box: Enter sends, Shift+Enter starts a new line."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import Chip, ElidedLabel, PlainLabel

_SHOWN_SUGGESTIONS = 3


class PromptEdit(QPlainTextEdit):
    """A text field of two lines.

    Signals:
        submitted: Enter was pressed without Shift.
    """

    submitted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("Ask something. Enter sends, Shift+Enter starts a new line.")
        self.setAccessibleName("Prompt")
        self.setTabChangesFocus(True)
        self.setFixedHeight(64)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Sends with Enter; with Shift the key starts a new line."""
        is_enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if is_enter and not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.submitted.emit()
        else:
            super().keyPressEvent(event)


class PromptBox(QWidget):
    """Suggestions, the text field, Send or Stop, and in words how answers are written.

    Signals:
        sent: The user sends this prompt.
        stop_requested: The answers being written are to end.
        settings_requested: The user wants to change how answers are written.
    """

    sent = Signal(str)
    stop_requested = Signal()
    settings_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_busy = False
        self._edit = PromptEdit()
        self._edit.submitted.connect(self._on_edit_submitted)
        self._send = Button("Send", "arrow-right", "primary")
        self._send.clicked.connect(self._on_send_clicked)
        self._suggestions = QWidget()
        self._flow = FlowRow(self._suggestions, SIZES.xs)
        self._suggestions.hide()
        self._settings = Button("Settings", "settings", "quiet")
        self._settings.setProperty("compact", True)
        self._settings.clicked.connect(self.settings_requested)
        self._words = ElidedLabel("", "caption", mode=Qt.TextElideMode.ElideRight)
        self._waiting = Chip("", "accent")
        self._waiting.hide()
        row = QHBoxLayout()
        row.setSpacing(SIZES.s)
        row.addWidget(self._edit, 1)
        row.addWidget(self._send, 0, Qt.AlignmentFlag.AlignBottom)
        bottom = QHBoxLayout()
        bottom.setSpacing(SIZES.s)
        bottom.addWidget(self._settings)
        bottom.addWidget(self._words, 1)
        bottom.addWidget(self._waiting)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.xs)
        box.addWidget(self._suggestions)
        box.addLayout(row)
        box.addLayout(bottom)

    @property
    def text(self) -> str:
        """What stands in the field."""
        return self._edit.toPlainText()

    def show_text(self, text: str) -> None:
        """Puts a text into the field, ready to be changed and sent."""
        self._edit.setPlainText(text)
        self._edit.selectAll()
        self.focus()

    def show_suggestions(self, prompts: Sequence[str]) -> None:
        """Offers prompts to try; none hides the row."""
        while (item := self._flow.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self._suggestions.setVisible(bool(prompts))
        if not prompts:
            return
        self._flow.addWidget(PlainLabel("Try", "caption", wraps=False))
        for prompt in prompts[:_SHOWN_SUGGESTIONS]:
            button = Button(prompt.replace("&", "&&"), "", "quiet")
            button.setProperty("compact", True)
            button.clicked.connect(lambda _=False, prompt=prompt: self._on_suggested(prompt))
            self._flow.addWidget(button)

    def show_busy(self, is_busy: bool) -> None:
        """Offers Stop while answers are written, Send otherwise."""
        self._is_busy = is_busy
        self._send.set_text_and_icon(*(("Stop", "stop") if is_busy else ("Send", "arrow-right")))
        self._send.set_kind("normal" if is_busy else "primary")

    def show_queue(self, waiting: int) -> None:
        """Shows how many prompts wait for their turn."""
        self._waiting.setText(f"{waiting:,} more to come" if waiting else "")
        self._waiting.setVisible(waiting > 0)

    def show_words(self, words: str) -> None:
        """Shows in words how answers are written."""
        self._words.setText(words)

    @property
    def has_keyboard(self) -> bool:
        """True while the text cursor is in the field."""
        return self.window().focusWidget() is self._edit

    def focus(self) -> None:
        """Puts the text cursor into the field."""
        self._edit.setFocus()

    def _on_edit_submitted(self) -> None:
        prompt = self._edit.toPlainText().strip()
        if prompt and not self._is_busy and self._edit.isEnabled():
            self._edit.clear()
            self.sent.emit(prompt)

    def _on_suggested(self, prompt: str) -> None:
        self.focus()  # the suggestions go away, and Qt would give the keyboard to any widget
        self.sent.emit(prompt)

    def _on_send_clicked(self) -> None:
        if self._is_busy:
            self.stop_requested.emit()
        else:
            self._on_edit_submitted()
