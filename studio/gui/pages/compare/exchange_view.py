"""One prompt with one card per column below it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QFont, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.gui.pages.compare.answer_card import AnswerCard
from studio.gui.pages.compare.vote_bar import VoteBar
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import IconButton
from studio.gui.widgets.flow_text import FlowText

COLUMN_GAP = SIZES.m


class ExchangeView(QWidget):
    """Shows what it is told; the prompt stays in sight when the columns are scrolled sideways.

    Cards are built one after the other, each in a turn of the event loop of its own, because nine
    at once would hold the window up; whoever asks for ``cards`` gets all of them at once.

    Signals:
        again_requested: Names of columns that are to answer once more.
        voted: Place of the best answer of a blind exchange, -1 for a tie.
    """

    again_requested = Signal(list)
    voted = Signal(int)

    def __init__(
        self,
        prompt: str,
        columns: Sequence[tuple[str, str]],
        parent: QWidget | None = None,
        *,
        is_anonymous: bool = False,
        waiting: str = "",
    ) -> None:
        super().__init__(parent)
        self._cards: dict[str, AnswerCard] = {}
        self._unbuilt = list(columns)
        self._is_anonymous = is_anonymous
        self._waiting = waiting
        self._width = self._visible = 0
        self._can_ask = True
        self.votes: VoteBar | None = None
        self._question = _Pinned(prompt)
        self._question.again.clicked.connect(lambda: self.again_requested.emit(list(self.cards)))
        self._row = QHBoxLayout()
        self._row.setSpacing(COLUMN_GAP)
        self._row.addStretch(1)
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(SIZES.s)
        self._box.addWidget(self._question)
        self._box.addLayout(self._row)
        self._question.again.setVisible(not is_anonymous)
        self._builder = QTimer(self)
        self._builder.timeout.connect(self._build_next)
        self._builder.start(0)

    @property
    def cards(self) -> dict[str, AnswerCard]:
        """The card of each column by its name."""
        while self._unbuilt:
            self._build_next()
        return self._cards

    @property
    def shown_cards(self) -> list[AnswerCard]:
        """The cards that are not hidden, from left to right."""
        if self._unbuilt:
            return list(self.cards.values())
        items = [self._row.itemAt(place) for place in range(self._row.count())]
        cards = [item.widget() for item in items if item is not None]
        return [card for card in cards if isinstance(card, AnswerCard) and not card.isHidden()]

    def show_titles(
        self, columns: Sequence[tuple[str, str]], *, is_anonymous: bool = False
    ) -> None:
        """Shows names of cards, or letters."""
        self._is_anonymous = is_anonymous
        self._question.again.setVisible(not is_anonymous)
        for name, title in columns:
            if name in self.cards:
                self.cards[name].show_title(title, is_anonymous=is_anonymous)

    def show_columns(self, columns: Sequence[tuple[str, str]]) -> None:
        """Shows a card for each of these columns, in their order, and hides those of others."""
        for name, title in columns:
            if name not in self.cards:
                self._add_card(name, title)
                self.cards[name].show_unasked()
        names = [name for name, _ in columns]
        for place, name in enumerate(names):
            card = self.cards[name]
            if self._row.indexOf(card) != place:
                self._row.removeWidget(card)
                self._row.insertWidget(place, card)
        for name, card in self.cards.items():
            card.setVisible(name in names)

    def show_width(self, column: int, visible: int, offset: int) -> None:
        """Makes each card as wide as ``column``; ``visible`` pixels are seen from ``offset`` on."""
        self._visible = visible
        self._question.show_part(offset, visible)
        self._fit_votes()
        if column != self._width:
            self._width = column
            for card in self._cards.values():
                card.setFixedWidth(column)

    def show_as_kept(self) -> None:
        """Takes the buttons for other answers away: this one comes from the history."""
        self._question.again.hide()
        for card in self.cards.values():
            card.show_kept()

    def show_can_ask(self, can_ask: bool) -> None:
        """Turns the buttons for other answers on or off."""
        self._can_ask = can_ask
        self._question.again.setEnabled(can_ask)
        for card in self._cards.values():
            card.show_can_ask(can_ask)

    def show_votes(self, letters: Sequence[str], *, is_same: bool = False) -> None:
        """Asks which answer is best, unless all are the same; no letters take the question away."""
        if self.votes is not None:
            self._box.removeWidget(self.votes)
            self.votes.hide()
            self.votes.deleteLater()
            self.votes = None
        if letters:
            self.votes = VoteBar(letters, is_same=is_same)
            self.votes.voted.connect(self.voted)
            self._box.insertWidget(1, self.votes)
            self._fit_votes()

    def _fit_votes(self) -> None:
        """Keeps the question in what is seen; the layout would only know the height of one line."""
        if self.votes is not None and self._visible:
            self.votes.setFixedSize(self._visible, self.votes.heightForWidth(self._visible))

    def _build_next(self) -> None:
        if self._unbuilt:
            self._add_card(*self._unbuilt.pop(0))
        if not self._unbuilt:
            self._builder.stop()

    def _add_card(self, name: str, title: str) -> None:
        card = AnswerCard(name, title)
        if self._is_anonymous:
            card.show_title(title, is_anonymous=True)
        if self._waiting:
            card.show_waiting(self._waiting)
        card.again_requested.connect(lambda: self.again_requested.emit([name]))
        card.show_can_ask(self._can_ask)
        if self._width:
            card.setFixedWidth(self._width)
        self._cards[name] = card
        self._row.insertWidget(self._row.count() - 1, card)


class _Pinned(QWidget):
    """The prompt and its button; they fill what is seen of a wider row."""

    def __init__(self, prompt: str) -> None:
        super().__init__()
        self._text = FlowText(prompt)
        font = self._text.font()
        font.setWeight(QFont.Weight.DemiBold)
        self._text.setFont(font)
        self._text.setAccessibleName("What was asked")
        self.again = IconButton("refresh", "Let all columns answer again")
        self._part = QWidget(self)
        row = QHBoxLayout(self._part)
        row.setContentsMargins(2, 0, 0, 0)
        row.setSpacing(SIZES.s)
        row.addWidget(self._text, 1)
        row.addWidget(self.again)
        self._fit()

    def show_part(self, offset: int, width: int) -> None:
        """Moves to the part of the row that is seen."""
        if self._part.width() != width:
            self._part.resize(width, self._part.height())
            self._fit()
        self._part.move(offset, 0)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Keeps the height of the text."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        layout = self._part.layout()
        if layout is not None:
            layout.activate()
        height = max(self._text.height(), self.again.sizeHint().height())
        if self.height() != height:
            self.setFixedHeight(height)
        if self._part.height() != height:
            self._part.resize(self._part.width(), height)
