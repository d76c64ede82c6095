"""All prompts of this visit with the answers side by side, newest at the bottom."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtGui import QFont
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from studio.gui.pages.compare.answer_card import AnswerCard
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.flow_text import FlowText

_KEPT = 40


class Exchange(QWidget):
    """One prompt and one card per column."""

    def __init__(self, prompt: str, columns: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.cards = {column: AnswerCard(column) for column in columns}
        question = FlowText(prompt)
        font = question.font()
        font.setWeight(QFont.Weight.DemiBold)
        question.setFont(font)
        row = QHBoxLayout()
        row.setSpacing(SIZES.m)
        for card in self.cards.values():
            row.addWidget(card, 1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.s)
        box.addWidget(question)
        box.addLayout(row)


class ExchangeList(QScrollArea):
    """Scrolls along with the newest answer unless the user scrolled up."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._exchanges: dict[int, Exchange] = {}
        self._follows = True
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setAccessibleName("Answers")
        content = QWidget()
        content.setProperty("role", "scrolled")
        self._box = QVBoxLayout(content)
        self._box.setContentsMargins(0, 0, SIZES.s, 0)
        self._box.setSpacing(SIZES.xl)
        self._box.addStretch(1)
        self.setWidget(content)
        self.setCornerWidget(QWidget())
        bar = self.verticalScrollBar()
        bar.rangeChanged.connect(self._on_range_changed)
        bar.valueChanged.connect(self._on_value_changed)

    @property
    def count(self) -> int:
        """How many prompts are shown."""
        return len(self._exchanges)

    def add_exchange(self, request: int, prompt: str, columns: Sequence[str]) -> None:
        """Adds a prompt at the bottom; very old ones are dropped."""
        exchange = Exchange(prompt, columns)
        self._exchanges[request] = exchange
        self._box.insertWidget(self._box.count() - 1, exchange)
        self._follows = True
        if len(self._exchanges) > _KEPT:
            oldest = self._exchanges.pop(next(iter(self._exchanges)))
            oldest.hide()
            oldest.deleteLater()

    def find_card(self, request: int, column: str) -> AnswerCard | None:
        """Returns the card of one answer, None when it is not shown any more."""
        exchange = self._exchanges.get(request)
        return None if exchange is None else exchange.cards.get(column)

    def get_cards(self, request: int) -> list[AnswerCard]:
        """Returns all cards of one prompt; empty when it is not shown any more."""
        exchange = self._exchanges.get(request)
        return [] if exchange is None else list(exchange.cards.values())

    def _on_range_changed(self, _low: int, high: int) -> None:
        if self._follows:
            self.verticalScrollBar().setValue(high)

    def _on_value_changed(self, value: int) -> None:
        self._follows = value >= self.verticalScrollBar().maximum() - SIZES.xl
