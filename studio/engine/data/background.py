"""Preparing all rows in a thread of its own while the model already trains."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor

from studio.engine.data.prepare import PreparedData


class Background:
    """One preparation under way; ``rows`` of ``total_rows`` are tokenised so far.

    The tokenizer works outside the interpreter's lock, so both sides come forward. Nothing that
    a run computes depends on how far it is.
    """

    def __init__(
        self, build: Callable[[], Generator[int, None, PreparedData]], total_rows: int
    ) -> None:
        """Take what builds the steps of the preparation; it runs in the thread as well."""
        self.rows = 0
        self.total_rows = total_rows
        self._build = build
        self._is_closed = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="preparation")
        self._future: Future[PreparedData | None] | None = None

    def start(self) -> None:
        """Begin."""
        self._future = self._pool.submit(self._work)

    @property
    def is_done(self) -> bool:
        """Whether it has come to an end, good or bad."""
        return self._future is not None and self._future.done()

    @property
    def error(self) -> BaseException | None:
        """What went wrong, None if nothing did so far."""
        if self._future is None or not self._future.done():
            return None
        return self._future.exception()

    def find_result(self) -> PreparedData | None:
        """Return what was prepared; None while it is under way or if it failed."""
        if self._future is None or not self._future.done() or self._future.exception():
            return None
        return self._future.result()

    def close(self) -> None:
        """End the work at the next batch of rows and wait for that."""
        self._is_closed.set()
        self._pool.shutdown(wait=True)

    def _work(self) -> PreparedData | None:
        steps = self._build()
        try:
            while not self._is_closed.is_set():
                self.rows = next(steps)
        except StopIteration as end:
            prepared: PreparedData = end.value
            return prepared
        finally:
            steps.close()
        return None
