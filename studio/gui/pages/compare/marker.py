"""Colours the words that the first column does not have; compared off the window's thread."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from PySide6.QtCore import QObject

from studio.core.word_diff import Piece, diff_words, list_changed
from studio.gui.bridge.background import Background, Cancellation
from studio.gui.pages.compare.answer_card import AnswerCard
from studio.gui.pages.compare.exchange_list import ExchangeList
from studio.gui.pages.compare.exchange_view import ExchangeView


class Marker(QObject):
    """Marks complete answers; nothing is marked while it is off."""

    def __init__(
        self, shown: ExchangeList, background: Background, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._shown, self._background = shown, background
        self._is_on = True
        self._compared: WeakKeyDictionary[AnswerCard, tuple[str, str]] = WeakKeyDictionary()

    def turn(self, is_on: bool) -> None:
        """Marks all answers, or none."""
        self._is_on = is_on
        for view in self._shown.views.values():
            self.mark(view)

    def mark(self, view: ExchangeView) -> None:
        """Compares the cards of one prompt with the first of them."""
        cards = view.shown_cards
        for card in cards:
            if not self._is_on or card is cards[0] or not (card.is_complete and cards[0].text):
                card.show_marks(())
                self._compared.pop(card, None)
            elif cards[0].is_complete:
                self._start(view, cards[0].text, card)

    def _start(self, view: ExchangeView, reference: str, card: AnswerCard) -> None:
        text = card.text
        if self._compared.get(card) == (reference, text):
            return
        self._compared[card] = (reference, text)

        def work(_: Cancellation) -> tuple[Piece, ...]:
            return diff_words(text, reference)

        def show(pieces: tuple[Piece, ...]) -> None:
            is_shown = view in self._shown.views.values()  # very old prompts are dropped
            if is_shown and self._is_on and card.text == text:
                card.show_marks(list_changed(pieces))

        self._background.start(work, show)
