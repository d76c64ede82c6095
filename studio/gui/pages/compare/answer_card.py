"""One answer: whose it is, what it says, how fast it came."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.events.types import AnswerFinished
from studio.core.units import format_rate
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import IconButton
from studio.gui.widgets.flow_text import FlowText
from studio.gui.widgets.labels import ElidedLabel, PlainLabel

_ENDINGS = {"length": "cut at the longest length", "stopped": "stopped", "failed": "failed"}


class AnswerCard(QFrame):
    """Grows as the answer is written; all text is shown as it is."""

    def __init__(self, column: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self.setMinimumWidth(200)
        self._pieces = ""
        name = ElidedLabel(
            "Base" if column == "base" else column, "strong", mode=Qt.TextElideMode.ElideRight
        )
        self._copy = IconButton("copy", f"Copy the answer of {column}")
        self._copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self._pieces))
        self._copy.setEnabled(False)
        self._answer = FlowText("Waiting …", "muted")
        self._answer.setAccessibleName(f"Answer of {column}")
        self._facts = PlainLabel("", "caption", wraps=False)
        top = QHBoxLayout()
        top.addWidget(name, 1)
        top.addWidget(self._copy)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.m + 2, SIZES.s, SIZES.s, SIZES.m)
        box.setSpacing(SIZES.xs)
        box.addLayout(top)
        box.addWidget(self._answer)
        box.addStretch(1)
        box.addWidget(self._facts)

    @property
    def text(self) -> str:
        """What has been written so far."""
        return self._pieces

    def add_text(self, text: str) -> None:
        """Adds a piece at the end."""
        if not self._pieces:
            self._answer.show_text("")
        self._pieces += text
        self._answer.add_text(text)
        self._copy.setEnabled(True)

    def show_waiting(self, words: str) -> None:
        """Shows what the answer waits for, unless it has begun."""
        if not self._pieces:
            self._answer.show_text(words, "muted")

    def show_end(self, answer: AnswerFinished) -> None:
        """Shows the whole answer with its length and speed."""
        self._show_answer(answer.text)
        if not answer.text:
            self._answer.show_text("(an empty answer)", "muted")
        rate = answer.tokens / answer.seconds if answer.seconds > 0 else None
        parts = [f"{answer.tokens:,} tokens", format_rate(rate, "tokens")]
        if answer.reason in _ENDINGS:
            parts.append(_ENDINGS[answer.reason])
        self._facts.setText("  ·  ".join(parts))

    def show_failure(self, words: str) -> None:
        """Shows why there is no answer."""
        if not self._pieces:
            self._answer.show_text(words, "error")

    def _show_answer(self, text: str) -> None:
        if text != self._pieces:
            self._pieces = text
            self._answer.show_text(text)
        self._copy.setEnabled(bool(text))
