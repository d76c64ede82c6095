"""The one prompt box: Enter sends, Shift+Enter starts a new line."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from studio.gui.pages.compare.options import OptionsPanel
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import PlainLabel

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
    """Suggestions, the text field, Send or Stop, and the folded options.

    Signals:
        sent: The user sends this prompt.
        stop_requested: The answers being written are to end.
    """

    sent = Signal(str)
    stop_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_busy = False
        self._edit = PromptEdit()
        self._edit.submitted.connect(self._on_edit_submitted)
        self._send = Button("Send", "arrow-right", "primary")
        self._send.clicked.connect(self._on_send_clicked)
        self._suggestions = QHBoxLayout()
        self._suggestions.setSpacing(SIZES.xs)
        self.options = OptionsPanel()
        self.options.changed.connect(self._show_words)
        self.options.hide()
        self._words = PlainLabel("", "caption", wraps=False)
        self._fold = Button("Options", "chevron-right", "quiet")
        self._fold.clicked.connect(self._on_fold_clicked)
        row = QHBoxLayout()
        row.setSpacing(SIZES.s)
        row.addWidget(self._edit, 1)
        row.addWidget(self._send, 0, Qt.AlignmentFlag.AlignBottom)
        bottom = QHBoxLayout()
        bottom.setSpacing(SIZES.s)
        bottom.addWidget(self._fold)
        bottom.addWidget(self._words)
        bottom.addStretch(1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.xs)
        box.addLayout(self._suggestions)
        box.addLayout(row)
        box.addLayout(bottom)
        box.addWidget(self.options)
        self._show_words()

    def show_suggestions(self, prompts: Sequence[str]) -> None:
        """Offers prompts to try; none hides the row."""
        while (item := self._suggestions.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        if not prompts:
            return
        self._suggestions.addWidget(PlainLabel("Try", "caption", wraps=False))
        for prompt in prompts[:_SHOWN_SUGGESTIONS]:
            button = Button(prompt.replace("&", "&&"), "", "quiet")
            button.clicked.connect(lambda _=False, prompt=prompt: self.sent.emit(prompt))
            self._suggestions.addWidget(button)
        self._suggestions.addStretch(1)

    def show_busy(self, is_busy: bool) -> None:
        """Offers Stop while answers are written, Send otherwise."""
        self._is_busy = is_busy
        self._send.set_text_and_icon(*(("Stop", "stop") if is_busy else ("Send", "arrow-right")))
        self._send.set_kind("normal" if is_busy else "primary")

    def show_enabled(self, is_enabled: bool) -> None:
        """Turns the box off while there is nobody to ask."""
        self._edit.setEnabled(is_enabled)
        self._send.setEnabled(is_enabled)

    def focus(self) -> None:
        """Puts the text cursor into the field."""
        self._edit.setFocus()

    def _on_edit_submitted(self) -> None:
        prompt = self._edit.toPlainText().strip()
        if prompt and not self._is_busy and self._edit.isEnabled():
            self._edit.clear()
            self.sent.emit(prompt)

    def _on_send_clicked(self) -> None:
        if self._is_busy:
            self.stop_requested.emit()
        else:
            self._on_edit_submitted()

    def _on_fold_clicked(self) -> None:
        is_open = self.options.isHidden()
        self.options.setVisible(is_open)
        self._fold.set_text_and_icon("Options", "chevron-down" if is_open else "chevron-right")

    def _show_words(self) -> None:
        self._words.setText(self.options.describe())
