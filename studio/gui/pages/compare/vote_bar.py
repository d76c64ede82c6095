"""Which of the nameless answers is best: buttons, and the keys 1 to 9 and 0."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import PlainLabel


class VoteBar(QFrame):
    """One button per answer and one for a tie; takes the keyboard when it appears.

    Where all answers are the same there is nothing to choose, and the names can be shown.

    Signals:
        voted: Place of the best answer, -1 for a tie.
    """

    voted = Signal(int)

    def __init__(
        self, letters: Sequence[str], parent: QWidget | None = None, *, is_same: bool = False
    ) -> None:
        super().__init__(parent)
        self.setProperty("kind", "note")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        question = "All answers are the same." if is_same else "Which answer is best?"
        self.setAccessibleName(question)
        self._count = 0 if is_same else len(letters)
        row = FlowRow(self)
        row.setContentsMargins(SIZES.m, SIZES.s, SIZES.m, SIZES.s)
        row.addWidget(PlainLabel(question, "strong", wraps=False))
        for place, letter in enumerate(letters[: self._count]):
            button = Button(f"{letter}  ({place + 1})")
            button.setAccessibleName(f"Answer {letter} is best")
            button.clicked.connect(lambda _=False, place=place: self.voted.emit(place))
            row.addWidget(button)
        tie = Button("Show the names  (0)" if is_same else "No difference  (0)")
        tie.setAccessibleName("Show the names" if is_same else "No answer is better")
        tie.setToolTip("Counts as a tie." if is_same else "")
        tie.clicked.connect(lambda: self.voted.emit(-1))
        row.addWidget(tie)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Votes with the number of an answer, or 0 for a tie."""
        text = event.text()
        if text.isdecimal() and text.isascii() and int(text) <= self._count:
            self.voted.emit(int(text) - 1)
        else:
            super().keyPressEvent(event)
