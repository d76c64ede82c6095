"""The mix answers beside the base, and beside its adapters alone, before anything is saved."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from studio.core.word_diff import diff_words
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import ElidedLabel, PlainLabel
from studio.gui.widgets.marked_text import MarkedText

_NAMES = {"base": "Base", "mix": "The mix"}
_ALONE = "alone:"
_MOST_IN_ROW = 3
_WAITING = "Ask something, then move a fader: the mix answers again at once."


class ListenCard(Card):
    """A prompt, and the answers of base and mix side by side.

    Signals:
        asked: The user wants this prompt answered.
        columns_changed: Other adapters are to answer alone beside the mix.
    """

    asked = Signal(str)
    columns_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("4. Listen", "The mix answers as it stands; nothing is saved yet.", parent)
        self._texts: dict[str, str] = {}
        self._views: dict[str, MarkedText] = {}
        self._boxes: dict[str, QWidget] = {}
        self._switches: dict[str, Button] = {}
        self._prompt = QLineEdit()
        self._prompt.setPlaceholderText("A prompt to try the mix with")
        self._prompt.setAccessibleName("Prompt")
        self._prompt.returnPressed.connect(self._on_asked)
        self._ask = Button("Ask", "arrow-right")
        self._ask.clicked.connect(self._on_asked)
        self._state = PlainLabel("", "caption")
        self._offers = QWidget()
        self._offers_row = FlowRow(self._offers, SIZES.xs)
        row = QHBoxLayout()
        row.setSpacing(SIZES.s)
        row.addWidget(self._prompt, 1)
        row.addWidget(self._ask)
        self._alone = QWidget()
        self._alone_row = FlowRow(self._alone, SIZES.s)
        self._alone_row.addWidget(PlainLabel("Beside it, alone:", "muted", wraps=False))
        self._answers = QGridLayout()
        self._answers.setSpacing(SIZES.m)
        self.body.addLayout(row)
        self.body.addWidget(self._offers)
        self.body.addWidget(self._alone)
        self.body.addWidget(self._state)
        self.body.addLayout(self._answers)
        for column, name in _NAMES.items():
            self._boxes[column] = self._build_answer(column, name)
        self._lay_out()
        self._alone.hide()
        self._offers.hide()
        self.show_state(_WAITING)

    @property
    def prompt(self) -> str:
        """What stands in the prompt field."""
        return self._prompt.text().strip()

    @property
    def alone(self) -> dict[str, str]:
        """The adapters that are to answer alone: names by column."""
        return {
            f"{_ALONE}{name}": name for name, switch in self._switches.items() if switch.isChecked()
        }

    def show_adapters(self, names: Sequence[str]) -> None:
        """Offers these adapters as columns of their own; chosen ones stay chosen."""
        for name in [name for name in self._switches if name not in names]:
            switch = self._switches.pop(name)
            self._alone_row.removeWidget(switch)
            switch.hide()
            switch.deleteLater()
        for name in names:
            if name not in self._switches:
                shown = name if len(name) <= 40 else f"{name[:39]}…"
                switch = Button(shown.replace("&", "&&"))
                switch.setCheckable(True)
                switch.setAccessibleName(f"Let {name} answer alone beside the mix")
                switch.clicked.connect(self._on_switch_clicked)
                self._switches[name] = switch
                self._alone_row.addWidget(switch)
        self._alone.setVisible(bool(names))
        self._lay_out()

    def show_enabled(self, is_enabled: bool) -> None:
        """Turns asking on or off."""
        self._ask.setEnabled(is_enabled)

    def show_offers(self, prompts: Sequence[str]) -> None:
        """Offers prompts to try."""
        while (item := self._offers_row.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()  # it would still be drawn until it is deleted
                widget.deleteLater()
        for prompt in prompts[:3]:
            button = Button(prompt.replace("&", "&&"), "", "quiet")
            button.clicked.connect(lambda _=False, prompt=prompt: self._on_offer_clicked(prompt))
            self._offers_row.addWidget(button)
        self._offers.setVisible(bool(prompts))

    def show_state(self, words: str) -> None:
        """Says what is going on."""
        self._state.setText(words)
        self._state.setVisible(bool(words))

    def clear_answers(self) -> None:
        """Forgets the answers, because others are on their way."""
        self._texts = {}
        for view in self._views.values():
            view.show_text("…", "muted")

    def add_text(self, column: str, text: str) -> None:
        """Adds a piece of an answer."""
        if column not in self._views:
            return
        if column not in self._texts:
            self._views[column].show_text("")
        self._texts[column] = self._texts.get(column, "") + text
        self._views[column].add_text(text)

    def show_answer(self, column: str, text: str) -> None:
        """Shows a whole answer; where both are there, words that the base has not are marked."""
        if column not in self._views:
            return
        self._texts[column] = text
        self._views[column].show_text(text or "(an empty answer)", "text" if text else "muted")
        base = self._texts.get("base")
        for other, found in self._texts.items():
            if base is not None and found and other != "base":
                self._views[other].show_pieces(diff_words(found, base))

    def _lay_out(self) -> None:
        """Puts the answers side by side, at most three in a row."""
        wanted = {**_NAMES, **self.alone}
        for column in [column for column in self._boxes if column not in wanted]:
            box = self._boxes.pop(column)
            del self._views[column]
            self._texts.pop(column, None)
            self._answers.removeWidget(box)
            box.hide()
            box.deleteLater()
        for column, name in wanted.items():
            if column not in self._boxes:
                self._boxes[column] = self._build_answer(column, name)
        in_row = 2 if len(wanted) == 4 else min(_MOST_IN_ROW, len(wanted))
        for place in range(_MOST_IN_ROW):
            self._answers.setColumnStretch(place, int(place < in_row))
        for place, column in enumerate(wanted):
            self._answers.addWidget(self._boxes[column], place // in_row, place % in_row)

    def _on_switch_clicked(self) -> None:
        self._lay_out()
        self.columns_changed.emit()

    def _build_answer(self, column: str, name: str) -> QWidget:
        frame = QFrame()
        frame.setProperty("kind", "sunken")
        box = QVBoxLayout(frame)
        box.setContentsMargins(SIZES.m, SIZES.s, SIZES.m, SIZES.s)
        box.setSpacing(SIZES.xs)
        view = MarkedText()
        view.setAccessibleName(f"Answer of {name}")
        self._views[column] = view
        box.addWidget(ElidedLabel(name, "strong"))
        box.addWidget(view)
        box.addStretch(1)
        return frame

    def _on_asked(self) -> None:
        if self.prompt and self._ask.isEnabled():
            self.asked.emit(self.prompt)

    def _on_offer_clicked(self, prompt: str) -> None:
        self._prompt.setText(prompt)
        self._on_asked()
