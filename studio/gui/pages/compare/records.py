"""What comparing leaves behind: every exchange and every vote, written off the window."""

from __future__ import annotations

import functools
import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.compare.exchanges import KeptExchange, write_markdown
from studio.core.compare.journal import Journal
from studio.core.compare.ratings import rate
from studio.core.compare.votes import Vote, list_choices, write_preferences
from studio.core.errors import StudioError
from studio.core.files import write_atomically
from studio.gui.bridge.background import Background, Cancellation

_MOST_KEPT = 2_000
_LOG = logging.getLogger(__name__)


class _Work:
    """One piece of work, done once, whoever comes first; ``is_kept`` if it must not be lost."""

    def __init__(
        self, work: Callable[[], object], then: Callable[..., object], *, is_kept: bool
    ) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._is_done = False
        self.then = then
        self.is_kept = is_kept

    def run(self) -> object:
        """Returns what the work returns; None when it was done before."""
        with self._lock:
            if self._is_done:
                return None
            self._is_done = True
            return self._work()


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
        self._waiting: deque[_Work] = deque()
        self._current: _Work | None = None
        self._is_finished = False

    def keep(self, exchange: KeptExchange) -> None:
        """Adds an exchange to the history."""
        self._start(lambda: self._history.append(exchange), lambda _: None, is_kept=True)

    def load_history(self) -> None:
        """Reads the newest exchanges."""
        self._start(lambda: self._history.load()[-_MOST_KEPT:], self.history_loaded.emit)

    def clear_history(self) -> None:
        """Deletes all exchanges; votes stay."""
        self._start(self._history.clear, lambda _: self.load_history(), is_kept=True)

    def vote(self, vote: Vote) -> None:
        """Keeps a vote and computes the ranks anew."""

        def work() -> tuple[list[object], int]:
            self._votes.append(vote)
            return self._rate(vote.base)

        self._start(work, lambda found: self.ratings_loaded.emit(*found), is_kept=True)

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
            if not text:
                raise StudioError(
                    "There is no preference pair yet, so no file was written.",
                    "A pair needs a vote for an answer that differs from another one; ties and "
                    "equal answers say nothing.",
                    code="no_preference_pairs",
                )
            write_atomically(path, text)
            count = text.count("\n")
            return f"{count:,} preference {'pair was' if count == 1 else 'pairs were'} written."

        self._start(work, lambda words: self.written.emit(words, str(path)), is_kept=True)

    def export_markdown(self, path: Path, exchanges: list[KeptExchange]) -> None:
        """Writes exchanges as a Markdown file."""

        def work() -> str:
            write_atomically(path, write_markdown(exchanges))
            return "The answers were written as Markdown."

        self._start(work, lambda words: self.written.emit(words, str(path)), is_kept=True)

    def finish(self) -> None:
        """Writes on this thread what is not on the disk yet; nothing is told any more."""
        rest = [*([self._current] if self._current is not None else ()), *self._waiting]
        self._waiting.clear()
        self._is_finished = True
        for work in rest:
            if work.is_kept:
                try:
                    work.run()
                except StudioError as error:  # nobody is there to read it on the page
                    _LOG.warning("not kept: %s", error)

    def _rate(self, base: str) -> tuple[list[object], int]:
        choices = list_choices(self._votes.load(), base)
        return list(rate(choices)), len(choices)

    def _start(
        self,
        work: Callable[[], object],
        then: Callable[..., object],
        *,
        is_kept: bool = False,
    ) -> None:
        # What was just written must be there when it is read again.
        self._waiting.append(_Work(work, then, is_kept=is_kept))
        if self._current is None:
            self._start_next()

    def _start_next(self) -> None:
        self._current = work = self._waiting.popleft() if self._waiting else None
        if work is None:
            return

        def run(_: Cancellation) -> object:
            return work.run()

        def go_on(result: object) -> None:
            if not self._is_finished:
                work.then(result)
                self._start_next()

        def fail(error: object) -> None:
            self.failed.emit(error)
            self._start_next()

        self._background.start(run, go_on, fail)
