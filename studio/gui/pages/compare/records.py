"""What comparing leaves behind: every exchange and every vote, written off the window."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.compare.exchanges import KeptExchange, write_markdown
from studio.core.compare.journal import Journal
from studio.core.compare.ratings import rate
from studio.core.compare.votes import Vote, list_choices, write_preferences
from studio.core.files import write_atomically
from studio.gui.bridge.background import Background, Cancellation

_MOST_KEPT = 2_000


class Records(QObject):
    """The history and the votes of one home; one piece of work after the other, in order.

    Signals:
        history_loaded: All ``KeptExchange``, oldest first.
        ratings_loaded: A list of ``Rating`` and the count of votes they come from.
        written: Words about a file that was written, and its path.
        failed: A ``StudioError``; what was to be kept is not on the disk.
    """

    history_loaded = Signal(list)
    ratings_loaded = Signal(list, int)
    written = Signal(str, str)
    failed = Signal(object)

    def __init__(self, folder: Path, background: Background, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._background = background
        self._history = Journal(folder / "history.jsonl", KeptExchange)
        self._votes = Journal(folder / "votes.jsonl", Vote)
        self._waiting: deque[tuple[Callable[[], object], Callable[..., object]]] = deque()
        self._is_working = False

    def keep(self, exchange: KeptExchange) -> None:
        """Adds an exchange to the history."""
        self._start(lambda: self._history.append(exchange), lambda _: None)

    def load_history(self) -> None:
        """Reads the newest exchanges."""
        self._start(lambda: self._history.load()[-_MOST_KEPT:], self.history_loaded.emit)

    def clear_history(self) -> None:
        """Deletes all exchanges; votes stay."""
        self._start(self._history.clear, lambda _: self.load_history())

    def vote(self, vote: Vote) -> None:
        """Keeps a vote and computes the ranks anew."""

        def work() -> tuple[list[object], int]:
            self._votes.append(vote)
            return self._rate(vote.base)

        self._start(work, lambda found: self.ratings_loaded.emit(*found))

    def load_ratings(self, base: str) -> None:
        """Computes the ranks of everything that was compared on one base."""
        self._start(
            functools.partial(self._rate, base), lambda found: self.ratings_loaded.emit(*found)
        )

    def export_preferences(self, path: Path, base: str) -> None:
        """Writes the votes on one base as preference pairs."""

        def work() -> str:
            votes = [vote for vote in self._votes.load() if vote.base == base]
            text = write_preferences(votes)
            write_atomically(path, text)
            return f"{text.count(chr(10)):,} preference pairs were written."

        self._start(work, lambda words: self.written.emit(words, str(path)))

    def export_markdown(self, path: Path, exchanges: list[KeptExchange]) -> None:
        """Writes exchanges as a Markdown file."""

        def work() -> str:
            write_atomically(path, write_markdown(exchanges))
            return "The answers were written as Markdown."

        self._start(work, lambda words: self.written.emit(words, str(path)))

    def _rate(self, base: str) -> tuple[list[object], int]:
        choices = list_choices(self._votes.load(), base)
        return list(rate(choices)), len(choices)

    def _start(self, work: Callable[[], object], then: Callable[..., object]) -> None:
        # What was just written must be there when it is read again.
        self._waiting.append((work, then))
        if not self._is_working:
            self._start_next()

    def _start_next(self) -> None:
        self._is_working = bool(self._waiting)
        if not self._waiting:
            return
        work, then = self._waiting.popleft()

        def run(_: Cancellation) -> object:
            return work()

        def go_on(result: object) -> None:
            then(result)
            self._start_next()

        def fail(error: object) -> None:
            self.failed.emit(error)
            self._start_next()

        self._background.start(run, go_on, fail)
