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

    Signals:
        voted: Place of the best answer, -1 for a tie.
    """

    voted = Signal(int)

    def __init__(self, letters: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "note")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Which answer is best?")
        self._count = len(letters)
        row = FlowRow(self)
        row.setContentsMargins(SIZES.m, SIZES.s, SIZES.m, SIZES.s)
        row.addWidget(PlainLabel("Which answer is best?", "strong", wraps=False))
        for place, letter in enumerate(letters):
            button = Button(f"{letter}  ({place + 1})")
            button.setAccessibleName(f"Answer {letter} is best")
            button.clicked.connect(lambda _=False, place=place: self.voted.emit(place))
            row.addWidget(button)
        tie = Button("No difference  (0)")
        tie.setAccessibleName("No answer is better")
        tie.clicked.connect(lambda: self.voted.emit(-1))
        row.addWidget(tie)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Votes with the number of an answer, or 0 for a tie."""
        text = event.text()
        if text.isdecimal() and text.isascii() and int(text) <= self._count:
            self.voted.emit(int(text) - 1)
        else:
            super().keyPressEvent(event)
