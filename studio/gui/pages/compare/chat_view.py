"""The working part of the page: state of the models, answers, prompt box."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from studio.core.events.types import AnswerFinished
from studio.gui.pages.compare.exchange_list import ExchangeList
from studio.gui.pages.compare.prompt_box import PromptBox
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.labels import PlainLabel


class ChatView(QWidget):
    """Shows what it is told; Send and Stop go out as signals.

    Signals:
        sent: The user sends this prompt.
        stop_requested: The answers being written are to end.
    """

    sent = Signal(str)
    stop_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = PlainLabel("", "muted", wraps=False)
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Loading the models")
        self._list = ExchangeList()
        self.prompt = PromptBox()
        self.prompt.sent.connect(self.sent)
        self.prompt.stop_requested.connect(self.stop_requested)
        self._loading_words = ""
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.s)
        for widget in (self._state, self._bar):
            box.addWidget(widget)
        box.addWidget(self._list, 1)
        box.addWidget(self.prompt)
        self.show_ready()

    def show_loading(self, words: str) -> None:
        """Shows that the models are being loaded; prompts may be sent already."""
        self._loading_words = f"{words} …"
        self._state.setText(
            f"{words} … You can send a prompt already; it is answered as soon as they are loaded."
        )
        self._state.show()
        self._bar.show()

    def show_ready(self) -> None:
        """Shows that the models answer at once."""
        self._loading_words = ""
        self._state.setText(
            "Every prompt is answered on its own: base and adapters get exactly the same text."
        )
        self._state.setVisible(self._list.count == 0)
        self._bar.hide()

    def show_unloaded(self) -> None:
        """Shows that no models are loaded."""
        self._bar.hide()
        self._state.hide()

    def add_exchange(self, request: int, prompt: str, columns: Sequence[str]) -> None:
        """Shows a prompt with one empty card per column."""
        if not self._loading_words:
            self._state.hide()
        self._list.add_exchange(request, prompt, columns)
        self.prompt.show_suggestions(())
        for card in self._list.get_cards(request):
            card.show_waiting(self._loading_words or "Waiting …")

    def show_began(self, request: int) -> None:
        """Shows that the answers are being written."""
        for card in self._list.get_cards(request):
            card.show_waiting("Writing …")

    def add_text(self, request: int, column: str, text: str) -> None:
        """Adds a piece of one answer."""
        card = self._list.find_card(request, column)
        if card is not None:
            card.add_text(text)

    def show_end(self, answer: AnswerFinished) -> None:
        """Shows one complete answer."""
        card = self._list.find_card(answer.request, answer.column)
        if card is not None:
            card.show_end(answer)

    def show_failure(self, request: int, words: str) -> None:
        """Shows why a prompt has no answers."""
        for card in self._list.get_cards(request):
            card.show_failure(words)
