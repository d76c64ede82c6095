"""One prompt with what each column was asked and answered."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from studio.core.compare.exchanges import KeptAnswer, KeptExchange
from studio.core.compare.prompts import Conversation
from studio.core.compare.votes import Vote
from studio.core.events.types import AnswerFinished
from studio.core.jobs.orders import Turn
from studio.gui.pages.compare.line_up import Column
from studio.gui.pages.compare.options import AskOptions

LETTERS = "ABCDEFGHI"


@dataclass
class Exchange:
    """Grows while the answers come; ``columns`` are in the order in which they are shown.

    ``turns`` are by column: in a conversation each column goes on from its own answers. A blind
    exchange shows letters instead of names until ``is_revealed``.
    """

    number: int
    base: str
    asked: Conversation
    options: AskOptions
    columns: dict[str, Column]
    time_seconds: float
    is_blind: bool = False
    is_revealed: bool = True
    winner: str | None = None
    turns: dict[str, tuple[Turn, ...]] = field(default_factory=dict)
    answers: dict[str, AnswerFinished] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    open: set[str] = field(default_factory=set)

    @property
    def prompt(self) -> str:
        """What the user said last."""
        return self.asked[-1].content

    @property
    def can_be_judged(self) -> bool:
        """Whether all answers of a blind exchange are there and nobody has voted yet."""
        is_complete = not self.open and len(self.answers) == len(self.columns) > 1
        return self.is_blind and not self.is_revealed and is_complete

    @property
    def are_same(self) -> bool:
        """Whether all answers that are there have the same text."""
        return len({answer.text for answer in self.answers.values()}) == 1

    def get_title(self, column: str) -> str:
        """Returns the name of a column, or its letter while the exchange is blind."""
        if self.is_blind and not self.is_revealed:
            return LETTERS[list(self.columns).index(column)]
        kept = self._keep_answer(column)
        return kept.title

    def keep(self) -> KeptExchange:
        """Returns the exchange as it is written into the history and exported."""
        return KeptExchange(
            time_seconds=self.time_seconds,
            base=self.base,
            turns=self._first_turns,
            answers=tuple(self._keep_answer(name) for name in self.columns if name in self.answers),
            is_raw=self.options.is_raw,
            settings=self.options.describe(),
        )

    def keep_vote(self) -> Vote:
        """Returns the exchange with what was voted."""
        names = list(self.columns)
        place = None if self.winner is None else names.index(self.winner)
        return Vote.model_validate({**self.keep().model_dump(), "winner": place})

    @property
    def _first_turns(self) -> tuple[Turn, ...]:
        return next(iter(self.turns.values()), self.asked)

    def _keep_answer(self, name: str) -> KeptAnswer:
        column, answer = self.columns[name], self.answers.get(name)
        return KeptAnswer(
            column=name,
            text="" if answer is None else answer.text,
            adapter=column.folder,
            strength=column.strength,
            tokens=0 if answer is None else answer.tokens,
            seconds=0.0 if answer is None else answer.seconds,
        )
