"""The button that starts a piece of work, how far it is, and the cards of choices above it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QScrollArea, QVBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.scroll import build_scroll_area


class StartCard(Card):
    """Start, or progress with Stop; ``field`` stands before the button while nothing runs.

    Signals:
        start_requested: Measure now.
        stop_requested: End without a result.
    """

    start_requested = Signal()
    stop_requested = Signal()

    def __init__(
        self, words: str, field: QWidget | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent=parent)
        self._start = Button(words, "play", "primary")
        self._start.clicked.connect(self.start_requested)
        self._stop = Button("Stop", "stop")
        self._stop.clicked.connect(self.stop_requested)
        self._words = PlainLabel("", "muted")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Progress")
        row = QHBoxLayout()
        row.setSpacing(SIZES.m)
        self._field = field
        if field is not None:
            row.addWidget(field, 1)
        row.addWidget(self._start)
        row.addWidget(self._stop)
        row.addWidget(self._words, 1)
        self.body.setContentsMargins(SIZES.m, SIZES.m, SIZES.m, SIZES.m)
        self.body.addWidget(self._bar)
        self.body.addLayout(row)
        self.show_idle("")

    def show_idle(self, obstacle: str) -> None:
        """Offers the start, or says why it is impossible yet."""
        self._start.show()
        if self._field is not None:
            self._field.show()
        self._start.setEnabled(not obstacle)
        self._stop.hide()
        self._bar.hide()
        self._words.setText(obstacle)

    def show_progress(self, words: str, done: int, total: int) -> None:
        """Shows what is done now, and how much of it."""
        self._start.hide()
        if self._field is not None:
            self._field.hide()
        self._stop.show()
        self._bar.show()
        self._bar.setRange(0, total)
        if total:
            self._bar.setValue(done)
            words = f"{words}: {done:,} of {total:,}"
        self._words.setText(f"{words} …")


def build_setup(cards: Sequence[QWidget], start: StartCard) -> tuple[QWidget, QScrollArea]:
    """Returns cards that scroll above a start card that always stays in sight, and their area."""
    box = QVBoxLayout()
    box.setContentsMargins(0, 0, SIZES.m, SIZES.s)
    box.setSpacing(SIZES.m)
    for card in cards:
        box.addWidget(card)
    box.addStretch(1)
    content = QWidget()
    outer = QVBoxLayout(content)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.setSpacing(SIZES.s)
    area = build_scroll_area(box)
    outer.addWidget(area, 1)
    below = QHBoxLayout()
    below.setContentsMargins(0, 0, SIZES.m, 0)
    below.addWidget(start)
    outer.addLayout(below)
    return content, area
