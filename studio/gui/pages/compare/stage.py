"""Puts the exchanges of a talk before the user, and the user's wishes about them to the talk."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QAbstractButton, QWidget
from shiboken6 import isValid

from studio.core.compare.exchanges import KeptExchange
from studio.core.events.types import AnswerFinished
from studio.gui.pages.compare.chat_view import ChatView
from studio.gui.pages.compare.exchange import LETTERS, Exchange
from studio.gui.pages.compare.exchange_view import ExchangeView
from studio.gui.pages.compare.line_up import LineUp
from studio.gui.pages.compare.marker import Marker
from studio.gui.pages.compare.options import AskOptions
from studio.gui.pages.compare.talk import Talk


class Stage(QObject):
    """Builds one view per exchange and keeps it up to date.

    Signals:
        judged: The user voted on this blind ``Exchange``.
    """

    judged = Signal(object)

    def __init__(
        self,
        talk: Talk,
        line_up: LineUp,
        view: ChatView,
        marker: Marker,
        get_options: Callable[[], AskOptions],
    ) -> None:
        super().__init__(view)
        self._talk, self._line_up, self._view, self._marker = talk, line_up, view, marker
        self._get_options = get_options
        self._shown: dict[int, Exchange] = {}
        self._changed_columns: set[str] = set()
        self._last_kept = 0
        self._is_blind = False
        self._keyboard: QWidget | None = None
        self._connect_view(line_up, talk)
        talk.added.connect(self._on_talk_added)
        talk.began.connect(self._on_talk_began)
        talk.restarted.connect(self._on_talk_restarted)
        talk.text_added.connect(self._on_talk_text_added)
        talk.answered.connect(self._on_talk_answered)
        talk.unanswered.connect(self._on_talk_unanswered)
        talk.completed.connect(self._on_talk_completed)
        talk.busy_changed.connect(self._on_talk_busy_changed)
        line_up.changed.connect(self._on_line_up_changed)
        line_up.strength_changed.connect(self._on_line_up_strength_changed)

    def show_blind(self, is_blind: bool) -> None:
        """Hides the heads, because the next answers come without names, or shows them again."""
        self._is_blind = is_blind
        self._view.show_columns(self._line_up.columns, is_blind=is_blind)

    def show_kept(self, kept: KeptExchange) -> None:
        """Shows an earlier exchange among the others, as it was."""
        names = [f"{answer.title}" for answer in kept.answers]
        view = ExchangeView(kept.prompt, [(name, name) for name in names])
        view.show_as_kept()
        for name, answer in zip(names, kept.answers, strict=True):
            view.cards[name].show_end(
                AnswerFinished(
                    request=0,
                    column=name,
                    text=answer.text,
                    tokens=answer.tokens,
                    seconds=answer.seconds,
                    reason="end_of_turn",
                )
            )
        self._last_kept -= 1
        self._view.list.add(self._last_kept, view)
        self._view.show_hint()
        self._marker.mark(view)

    def _connect_view(self, line_up: LineUp, talk: Talk) -> None:
        view = self._view
        view.strip.removed.connect(line_up.remove)
        view.strip.strength_chosen.connect(line_up.set_strength)
        view.prompt.stop_requested.connect(talk.cancel)
        talk.busy_changed.connect(view.prompt.show_busy)
        talk.queue_changed.connect(view.prompt.show_queue)
        talk.added.connect(lambda _: view.prompt.show_suggestions(()))
        talk.started_over.connect(lambda: view.list.add_line("A new conversation begins here."))
        line_up.changed.connect(lambda: self.show_blind(self._is_blind and bool(line_up.adapters)))

    def _find(self, number: int) -> ExchangeView | None:
        return self._view.list.find_view(number)

    def _on_talk_added(self, exchange: Exchange) -> None:
        self._shown[exchange.number] = exchange
        is_anonymous = not exchange.is_revealed
        columns = [(name, exchange.get_title(name)) for name in exchange.columns]
        view = ExchangeView(
            exchange.prompt,
            columns,
            is_anonymous=is_anonymous,
            waiting=self._view.waiting_words,
        )
        view.show_can_ask(False)
        view.again_requested.connect(lambda names: self._ask_again(exchange, names))
        view.voted.connect(lambda place: self._judge(exchange, place))
        self._view.list.add(exchange.number, view)
        self._view.show_hint()

    def _on_talk_began(self, number: int) -> None:
        view = self._find(number)
        for card in [] if view is None else view.cards.values():
            card.show_waiting("Writing …")

    def _on_talk_restarted(self, exchange: Exchange, names: list[str]) -> None:
        view = self._find(exchange.number)
        if view is not None:
            view.show_titles([(name, exchange.get_title(name)) for name in names])
            for name in names:
                view.cards[name].restart(self._view.waiting_words)
            self._marker.mark(view)

    def _on_talk_text_added(self, number: int, column: str, text: str) -> None:
        view = self._find(number)
        if view is not None and column in view.cards:
            view.cards[column].add_text(text)

    def _on_talk_answered(self, number: int, answer: AnswerFinished) -> None:
        view = self._find(number)
        if view is None or answer.column not in view.cards:
            return
        view.cards[answer.column].show_end(answer)
        exchange = self._shown[number]
        if exchange.is_revealed:
            self._marker.mark(view)

    def _on_talk_unanswered(self, exchange: Exchange, names: list[str], words: str) -> None:
        view = self._find(exchange.number)
        for name in [] if view is None else names:
            if view is not None and name in view.cards:
                view.cards[name].show_failure(words)
        if exchange.is_blind and view is not None:
            self._reveal(exchange, view)

    def _on_talk_completed(self, exchange: Exchange) -> None:
        view = self._find(exchange.number)
        if view is not None and exchange.can_be_judged:
            view.show_votes(LETTERS[: len(exchange.columns)], is_same=exchange.are_same)
            if view.votes is not None and not self._view.prompt.text:
                view.votes.setFocus()

    def _on_talk_busy_changed(self, is_busy: bool) -> None:
        if is_busy:
            self._lend_keyboard()
        for number, view in self._view.list.views.items():
            exchange = self._shown.get(number)
            if exchange is not None:
                is_here = exchange.base == self._line_up.base
                view.show_can_ask(is_here and not is_busy)
        if not is_busy and self._changed_columns:
            names, self._changed_columns = self._changed_columns, set()
            self._answer_last_again(names)
        elif not is_busy:
            self._give_keyboard_back()

    def _lend_keyboard(self) -> None:
        """Moves the keyboard to the prompt: a button turned off would pass it on to any other."""
        focus = self._view.window().focusWidget()
        if focus is not None and self._view.list.isAncestorOf(focus):
            self._keyboard = focus if isinstance(focus, QAbstractButton) else None
            self._view.prompt.focus()

    def _give_keyboard_back(self) -> None:
        """Moves it back to the button that was pressed, unless it is used elsewhere meanwhile."""
        button, self._keyboard = self._keyboard, None
        prompt = self._view.prompt
        if button is not None and isValid(button) and prompt.has_keyboard and not prompt.text:
            button.setFocus()

    def _on_line_up_changed(self) -> None:
        columns = [(column.name, column.title) for column in self._line_up.columns]
        for number, view in self._view.list.views.items():
            exchange = self._shown.get(number)
            if exchange is None or not exchange.is_revealed:
                continue
            if exchange.base == self._line_up.base:
                titles = {name: exchange.get_title(name) for name in exchange.columns}
                view.show_columns([(name, titles.get(name, title)) for name, title in columns])
                self._marker.mark(view)
            view.show_can_ask(exchange.base == self._line_up.base and not self._talk.is_busy)

    def _on_line_up_strength_changed(self, name: str) -> None:
        if self._talk.is_busy:
            self._changed_columns.add(name)
        else:
            self._answer_last_again({name})

    def _answer_last_again(self, names: set[str]) -> None:
        """Shows at once what another strength does to the last answer."""
        last = self._talk.exchanges[-1] if self._talk.exchanges else None
        if last is not None and not last.is_blind:
            self._talk.ask_again(last, sorted(names), self._get_options())

    def _ask_again(self, exchange: Exchange, names: list[str]) -> None:
        self._talk.ask_again(exchange, names, self._get_options())

    def _judge(self, exchange: Exchange, place: int) -> None:
        view = self._find(exchange.number)
        if view is None or not exchange.can_be_judged:
            return
        self._talk.reveal(exchange, None if place < 0 else list(exchange.columns)[place])
        self._reveal(exchange, view)
        self._view.prompt.focus()
        self.judged.emit(exchange)

    def _reveal(self, exchange: Exchange, view: ExchangeView) -> None:
        letters = dict(zip(exchange.columns, LETTERS, strict=False))
        exchange.is_revealed = True
        view.show_votes(())
        view.show_titles(
            [(name, f"{letters[name]}: {exchange.get_title(name)}") for name in exchange.columns]
        )
        if exchange.winner is not None:
            best = exchange.answers[exchange.winner].text
            for name, answer in exchange.answers.items():
                if answer.text == best:
                    view.cards[name].show_chip("Best")
        self._marker.mark(view)
