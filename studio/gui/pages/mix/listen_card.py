"""The mix answers beside the base before anything is saved."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from studio.core.word_diff import diff_words
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.marked_text import MarkedText

_NAMES = {"base": "Base", "mix": "The mix"}
_WAITING = "Ask something, then move a fader: the mix answers again at once."


class ListenCard(Card):
    """A prompt, and the answers of base and mix side by side.

    Signals:
        asked: The user wants this prompt answered.
    """

    asked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("4. Listen", "The mix answers as it stands; nothing is saved yet.", parent)
        self._texts: dict[str, str] = {}
        self._views: dict[str, MarkedText] = {}
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
        answers = QHBoxLayout()
        answers.setSpacing(SIZES.m)
        for column in _NAMES:
            answers.addWidget(self._build_answer(column), 1)
        self.body.addLayout(row)
        self.body.addWidget(self._offers)
        self.body.addWidget(self._state)
        self.body.addLayout(answers)
        self._offers.hide()
        self.show_state(_WAITING)

    @property
    def prompt(self) -> str:
        """What stands in the prompt field."""
        return self._prompt.text().strip()

    def show_enabled(self, is_enabled: bool) -> None:
        """Turns asking on or off."""
        self._ask.setEnabled(is_enabled)

    def show_offers(self, prompts: Sequence[str]) -> None:
        """Offers prompts to try."""
        while (item := self._offers_row.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
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
        base, mix = self._texts.get("base"), self._texts.get("mix")
        self._views[column].show_text(text or "(an empty answer)", "text" if text else "muted")
        if base is not None and mix:
            self._views["mix"].show_pieces(diff_words(mix, base))

    def _build_answer(self, column: str) -> QWidget:
        frame = QFrame()
        frame.setProperty("kind", "sunken")
        box = QVBoxLayout(frame)
        box.setContentsMargins(SIZES.m, SIZES.s, SIZES.m, SIZES.s)
        box.setSpacing(SIZES.xs)
        view = MarkedText()
        view.setAccessibleName(f"Answer of {_NAMES[column]}")
        self._views[column] = view
        box.addWidget(PlainLabel(_NAMES[column], "strong", wraps=False))
        box.addWidget(view)
        box.addStretch(1)
        return frame

    def _on_asked(self) -> None:
        if self.prompt and self._ask.isEnabled():
            self.asked.emit(self.prompt)

    def _on_offer_clicked(self, prompt: str) -> None:
        self._prompt.setText(prompt)
        self._on_asked()
