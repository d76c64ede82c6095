"""One answer: whose it is, what it says, how fast it came."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.events.types import AnswerFinished
from studio.core.units import format_rate, format_things
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import IconButton
from studio.gui.widgets.flow_text import FlowText
from studio.gui.widgets.labels import Chip, ElidedLabel, PlainLabel

_ENDINGS = {"length": "cut at the longest length", "stopped": "stopped", "failed": "failed"}


class AnswerCard(QFrame):
    """Grows as the answer is written; all text is shown as it is.

    ``column`` is the name by which the card is known, ``title`` the one that is shown. ``facts``
    are length and speed in words, and ``is_complete`` says that nothing more comes.

    Signals:
        again_requested: The column is to answer once more, or for the first time.
    """

    again_requested = Signal()

    def __init__(self, column: str, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self._column = column
        self._text = ""
        self.facts = ""
        self._is_anonymous = False
        self.is_complete = False
        self._name = ElidedLabel("", "strong")
        self._chip = Chip("", "success")
        self._chip.hide()
        self._again = IconButton("refresh", "")
        self._again.clicked.connect(self.again_requested)
        self._copy = IconButton("copy", "")
        self._copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self._text))
        self._copy.setEnabled(False)
        self._answer = FlowText("Waiting …", "muted")
        self._facts = PlainLabel("", "caption")
        top = QHBoxLayout()
        top.setSpacing(2)
        for widget in (self._again, self._copy):
            top.addWidget(widget)
        top.insertWidget(0, self._name, 1)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.m, SIZES.s, SIZES.s, SIZES.s)
        box.setSpacing(SIZES.xs)
        box.addLayout(top)
        box.addWidget(self._chip, 0, Qt.AlignmentFlag.AlignLeft)
        box.addWidget(self._answer)
        box.addStretch(1)
        box.addWidget(self._facts)
        self.show_title(title)

    @property
    def text(self) -> str:
        """What has been written so far."""
        return self._text

    def show_title(self, title: str, *, is_anonymous: bool = False) -> None:
        """Shows the name, or a letter instead; then nothing else tells whose the answer is."""
        self._is_anonymous = is_anonymous
        shown = f"Answer {title}" if is_anonymous else title
        spoken = title if is_anonymous else self._column
        self._name.setText(shown)
        self._answer.setAccessibleName(f"Answer of {spoken}")
        self._copy.set_name(f"Copy the answer of {spoken}")
        self._again.set_name(f"Let {spoken} answer again")
        self._again.setVisible(not is_anonymous)
        self._show_facts()

    def show_chip(self, words: str) -> None:
        """Marks the answer with a word, such as that it won; none takes the mark away."""
        self._chip.setText(words)
        self._chip.setVisible(bool(words))

    def show_can_ask(self, can_ask: bool) -> None:
        """Turns the button for another answer off while others are being written."""
        self._again.setEnabled(can_ask)

    def show_kept(self) -> None:
        """Takes the button for another answer away."""
        self._again.hide()

    def restart(self, words: str) -> None:
        """Forgets the answer because another one comes."""
        self._text = self.facts = ""
        self.is_complete = False
        self._answer.show_text(words, "muted")
        self._copy.setEnabled(False)
        self.show_chip("")
        self._show_facts()

    def add_text(self, text: str) -> None:
        """Adds a piece at the end."""
        if not self._text:
            self._answer.show_text("")
        self._text += text
        self._answer.add_text(text)
        self._copy.setEnabled(True)

    def show_waiting(self, words: str) -> None:
        """Shows what the answer waits for, unless it has begun."""
        if not self._text:
            self._answer.show_text(words, "muted")

    def show_end(self, answer: AnswerFinished) -> None:
        """Shows the whole answer with its length and speed."""
        if answer.text != self._text:
            self._text = answer.text
            self._answer.show_text(answer.text)
        if not answer.text:
            self._answer.show_text("(an empty answer)", "muted")
        self.is_complete = True
        self._copy.setEnabled(bool(answer.text))
        rate = answer.tokens / answer.seconds if answer.seconds > 0 else None
        parts = [format_things(answer.tokens, "token"), format_rate(rate, "tokens")]
        if answer.reason in _ENDINGS:
            parts.append(_ENDINGS[answer.reason])
        self.facts = "  ·  ".join(parts)
        self._show_facts()

    def show_marks(self, spans: Sequence[tuple[int, int]]) -> None:
        """Colours the parts that the first column does not have."""
        self._answer.show_marks(spans)

    def show_failure(self, words: str) -> None:
        """Shows why there is no answer; what was written stays."""
        if not self._text:
            self._answer.show_text(words, "error")
        else:
            self.facts = words
            self._show_facts()

    def show_unasked(self) -> None:
        """Shows that this column was not there when the prompt was asked."""
        self._answer.show_text(
            "Not asked yet: this column came later. The round arrow asks it now.", "muted"
        )

    def _show_facts(self) -> None:
        # Blind, the length is hidden as well: it would give some adapters away. The line keeps its
        # room, so that nothing moves when it is filled.
        self._facts.setText((not self._is_anonymous and self.facts) or " ")
