"""The questions of this visit: who is asked what, in which order, and what they answer."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, Signal

from studio.core.compare.prompts import Conversation
from studio.core.errors import StudioError
from studio.core.events.types import AnswerFinished
from studio.core.jobs.orders import Ask, ColumnWish, Turn
from studio.gui.bridge.chat_link import ChatLink
from studio.gui.pages.compare.exchange import Exchange
from studio.gui.pages.compare.line_up import LineUp
from studio.gui.pages.compare.options import AskOptions


class Talk(QObject):
    """Asks one question after the other and keeps the exchanges.

    ``shuffle`` puts the columns of a blind exchange in another order.

    Signals:
        added: A new ``Exchange``; its answers follow.
        began: The answers to the exchange with this number are being written.
        restarted: Exchange and names of columns that answer once more.
        text_added: Exchange number, column and a piece of its answer.
        answered: Exchange number and the ``AnswerFinished`` of one column.
        unanswered: Exchange, names of columns, and why they have no answer.
        completed: All columns of this ``Exchange`` have answered for the first time.
        busy_changed: True while answers are outstanding.
        queue_changed: How many prompts wait for their turn.
        started_over: A new conversation begins with the next prompt.
    """

    added = Signal(object)
    began = Signal(int)
    restarted = Signal(object, list)
    text_added = Signal(int, str, str)
    answered = Signal(int, object)
    unanswered = Signal(object, list, str)
    completed = Signal(object)
    busy_changed = Signal(bool)
    queue_changed = Signal(int)
    started_over = Signal()

    def __init__(
        self,
        link: ChatLink,
        line_up: LineUp,
        parent: QObject | None = None,
        shuffle: Callable[[list[str]], None] | None = None,
    ) -> None:
        super().__init__(parent)
        self._link, self._line_up = link, line_up
        self._shuffle = shuffle or random.SystemRandom().shuffle
        self._queue: deque[tuple[Conversation, AskOptions, bool]] = deque()
        self._active: tuple[int, Exchange] | None = None
        self._first_of_conversation = 0
        self.exchanges: list[Exchange] = []
        link.answers_began.connect(self._on_link_answers_began)
        link.text_added.connect(self._on_link_text_added)
        link.answer_finished.connect(self._on_link_answer_finished)
        link.request_failed.connect(self._on_link_request_failed)
        link.failed.connect(self._on_link_failed)
        line_up.changed.connect(self._on_line_up_changed)

    @property
    def is_busy(self) -> bool:
        """True while answers are outstanding."""
        return self._active is not None

    def ask(
        self, prompts: Sequence[Conversation], options: AskOptions, *, is_blind: bool = False
    ) -> None:
        """Asks all columns each prompt, one after the other."""
        if not self._line_up.base:
            return
        if not self._link.is_open:
            self._line_up.reload()
        self._queue.extend((prompt, options, is_blind) for prompt in prompts)
        self.queue_changed.emit(len(self._queue))
        self._go_on()

    def ask_again(self, exchange: Exchange, columns: Sequence[str], options: AskOptions) -> None:
        """Lets some columns answer once more, also ones that were not there before.

        With chance, each new answer of a column has the next seed.
        """
        known = [name for name in columns if self._line_up.find(name) is not None]
        if self.is_busy or not known or exchange.base != self._line_up.base:
            return
        if not self._link.is_open:
            self._line_up.reload()
        for name in known:
            exchange.attempts[name] += name in exchange.answers
        exchange.options = options
        self._send(exchange, known, is_again=True)

    def cancel(self) -> None:
        """Ends the answers being written and forgets the prompts that wait."""
        self._queue.clear()
        self.queue_changed.emit(0)
        if self._active is not None and not self._link.cancel(self._active[0]):
            self._end_active("Stopped before the models were loaded.")

    def start_over(self) -> None:
        """Begins a new conversation: what was said so far is not told to the models again."""
        self._first_of_conversation = len(self.exchanges)
        self.started_over.emit()

    def reveal(self, exchange: Exchange, winner: str | None) -> None:
        """Notes the vote on a blind exchange and gives its columns their names."""
        exchange.winner, exchange.is_revealed = winner, True

    def _go_on(self) -> None:
        if self.is_busy or not self._queue:
            return
        prompt, options, is_blind = self._queue.popleft()
        self.queue_changed.emit(len(self._queue))
        columns = {column.name: column for column in self._line_up.columns}
        if is_blind:
            names = list(columns)
            self._shuffle(names)
            columns = {name: columns[name] for name in names}
        exchange = Exchange(
            number=len(self.exchanges),
            base=self._line_up.base,
            asked=prompt,
            options=options,
            columns=columns,
            time_seconds=time.time(),
            is_blind=is_blind,
            is_revealed=not is_blind,
        )
        self.exchanges.append(exchange)
        self.added.emit(exchange)
        self._send(exchange, list(columns))

    def _send(self, exchange: Exchange, columns: list[str], *, is_again: bool = False) -> None:
        options, wishes = exchange.options, {}
        for name in columns:
            column = self._line_up.find(name)
            if column is None:
                continue
            exchange.columns[name] = column
            exchange.turns[name] = self._build_turns(exchange, name)
            exchange.answers.pop(name, None)
            wishes[name] = ColumnWish(
                strength=column.strength,
                turns=exchange.turns[name],
                seed=options.seed + exchange.attempts[name],
            )
        exchange.open = set(columns)
        number = self._link.take_number()
        self._active = (number, exchange)
        if is_again:
            self.restarted.emit(exchange, columns)
        self.busy_changed.emit(True)
        self._link.ask(
            Ask(
                request=number,
                turns=exchange.turns[columns[0]],
                columns=tuple(columns),
                is_raw=options.is_raw,
                max_new_tokens=options.max_new_tokens,
                temperature=options.temperature,
                top_p=options.top_p,
                top_k=options.top_k,
                min_p=options.min_p,
                repetition_penalty=options.repetition_penalty,
                seed=options.seed,
                stop_texts=options.stop_texts,
                per_column=wishes,
            )
        )

    def _build_turns(self, exchange: Exchange, column: str) -> tuple[Turn, ...]:
        options, turns = exchange.options, list(exchange.asked)
        if options.is_conversation and not exchange.is_blind:
            first = min(self._first_of_conversation, exchange.number)
            for earlier in reversed(self.exchanges[first : exchange.number]):
                answer = earlier.answers.get(column)
                is_part = earlier.options.is_conversation and not earlier.is_blind
                if is_part and answer is not None and answer.text:
                    turns[:0] = [*earlier.asked, Turn(role="assistant", content=answer.text)]
        turns = [turn for place, turn in enumerate(turns) if turn.role != "system" or place == 0]
        has_system = turns[0].role == "system"
        if options.system and not options.is_raw and not has_system:
            turns.insert(0, Turn(role="system", content=options.system))
        return tuple(turns)

    def _on_link_answers_began(self, request: int) -> None:
        if self._active is not None and self._active[0] == request:
            self.began.emit(self._active[1].number)

    def _on_link_text_added(self, request: int, column: str, text: str) -> None:
        if self._active is not None and self._active[0] == request:
            self.text_added.emit(self._active[1].number, column, text)

    def _on_link_answer_finished(self, answer: AnswerFinished) -> None:
        if self._active is None or self._active[0] != answer.request:
            return
        exchange = self._active[1]
        exchange.answers[answer.column] = answer
        exchange.open.discard(answer.column)
        self.answered.emit(exchange.number, answer)
        if not exchange.open:
            self._finish(exchange)

    def _finish(self, exchange: Exchange) -> None:
        self._active = None
        self.busy_changed.emit(False)
        if not exchange.attempts.total():
            self.completed.emit(exchange)
        self._go_on()

    def _on_link_request_failed(self, request: int, words: str) -> None:
        if self._active is not None and self._active[0] == request:
            self._end_active(words)

    def _on_link_failed(self, error: StudioError) -> None:
        self._queue.clear()
        self._end_active(error.message)

    def _on_line_up_changed(self) -> None:
        if self._active is None:
            return
        exchange = self._active[1]
        if exchange.base != self._line_up.base:
            self._queue.clear()
            self._end_active("The base was changed before the answer was complete.")
            return
        gone = [name for name in exchange.open if self._line_up.find(name) is None]
        if gone:
            exchange.open -= set(gone)
            self.unanswered.emit(exchange, gone, "Taken out before the answer was complete.")
            if not exchange.open:
                self._finish(exchange)

    def _end_active(self, words: str) -> None:
        if self._active is None:
            return
        exchange, self._active = self._active[1], None
        columns = sorted(exchange.open)
        exchange.open.clear()
        self.unanswered.emit(exchange, columns, words)
        self.busy_changed.emit(False)
        self._go_on()
