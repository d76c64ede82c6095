"""Before the start: what will be trained, what stands against it, and the Start button."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from studio.gui.pages.train.summary import NOT_CHOSEN
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card, Line
from studio.gui.widgets.icon import Icon
from studio.gui.widgets.labels import ElidedLabel, PlainLabel


class ReadyView(QWidget):
    """A summary of the recipe with one large button.

    Signals:
        start_requested: Start to train the recipe as it is now.
        place_requested: The user wants the page with this key, to change something.
    """

    start_requested = Signal()
    place_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._summary = QGridLayout()
        self._summary.setHorizontalSpacing(SIZES.l)
        self._summary.setVerticalSpacing(SIZES.m)
        self._summary.setColumnStretch(1, 1)
        self._name = ElidedLabel("", "heading", mode=Qt.TextElideMode.ElideRight)
        self._start = Button("&Start training", "play", "primary")
        self._start.clicked.connect(self.start_requested)
        self._reason = PlainLabel("", "muted")
        self._problems = QVBoxLayout()
        self._problems.setSpacing(SIZES.s)
        card = Card()
        card.body.addWidget(self._name)
        card.body.addWidget(Line())
        card.body.addLayout(self._summary)
        card.body.addLayout(self._problems)
        card.body.addWidget(Line())
        bottom = QHBoxLayout()
        bottom.setSpacing(SIZES.m)
        bottom.addWidget(self._start)
        bottom.addWidget(self._reason, 1)
        card.body.addLayout(bottom)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(card)
        box.addStretch(1)

    def show_summary(self, name: str, rows: Sequence[tuple[str, str, str, str]]) -> None:
        """Shows the name of the run and rows of (label, value, note, page to change it)."""
        self._name.setText(name)
        _empty(self._summary)
        for index, (label, value, note, page) in enumerate(rows):
            texts = QVBoxLayout()
            texts.setSpacing(0)
            texts.addWidget(ElidedLabel(value, "strong"))
            if note:
                texts.addWidget(PlainLabel(note, "caption"))
            change = Button("Choose" if value == NOT_CHOSEN else "Change", "pencil", "quiet")
            change.setAccessibleName(f"Change {label}")
            change.clicked.connect(lambda _=False, page=page: self.place_requested.emit(page))
            cell = QWidget()
            cell.setLayout(texts)
            texts.setContentsMargins(0, 0, 0, 0)
            top = Qt.AlignmentFlag.AlignTop
            self._summary.addWidget(PlainLabel(label, "muted", wraps=False), index, 0, top)
            self._summary.addWidget(cell, index, 1, top)
            self._summary.addWidget(change, index, 2, top)

    def show_problems(self, problems: Sequence[str]) -> None:
        """Shows what has to be mended; with any, Start is off and says so."""
        _empty(self._problems)
        for problem in problems:
            line = QWidget()
            row = QHBoxLayout(line)
            row.setContentsMargins(0, 0, 0, 0)
            row.addWidget(Icon("error", "error"), 0, Qt.AlignmentFlag.AlignTop)
            row.addWidget(PlainLabel(problem), 1)
            self._problems.addWidget(line)
        self._start.setEnabled(not problems)
        count = len(problems)
        if count:
            word = "one thing" if count == 1 else f"{count} things"
            self._reason.setText(f"{word.capitalize()} above must be mended first.")
        else:
            self._reason.setText("You can pause, stop and resume at any time; nothing is lost.")

    def show_starting(self) -> None:
        """Turns the button off while the run is being made."""
        if self._start.hasFocus():  # or Qt would hand it to the first page of the rail
            self.setFocus()
        self._start.setEnabled(False)
        self._reason.setText("Starting …")


def _empty(layout: QGridLayout | QVBoxLayout) -> None:
    while (item := layout.takeAt(0)) is not None:
        widget = item.widget()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
