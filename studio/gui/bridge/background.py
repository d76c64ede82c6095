"""One way to do small slow work (files, folders, sizes) beside the GUI thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QThreadPool, Signal, Slot

from studio.core.errors import StudioError

Work = Callable[["Cancellation"], Any]


class Cancellation:
    """Tells work that nobody waits for its result any more."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def is_set(self) -> bool:
        """True once the call was cancelled; long loops look at it and return early."""
        return self._event.is_set()

    def set(self) -> None:
        """Ask the work to end early."""
        self._event.set()


class BackgroundCall(QObject):
    """One piece of work on a pool thread; its signals arrive on the thread that made it.

    Signals:
        succeeded: The work's result.
        failed: A ``StudioError`` in words for people.
        ended: Always last, also after ``cancel``.
    """

    succeeded = Signal(object)
    failed = Signal(object)
    ended = Signal()
    _outcome_ready = Signal(object, object)

    def __init__(self, work: Work, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._work = work
        self._cancellation = Cancellation()
        # A bound method of an object of the caller's thread makes the delivery queued.
        self._outcome_ready.connect(self._on_outcome_ready)

    def cancel(self) -> None:
        """Ask the work to end and drop its result."""
        self._cancellation.set()

    def run(self) -> None:
        """Do the work on the calling thread and hand the outcome to the owner's thread."""
        result: object = None
        error: StudioError | None = None
        try:
            if not self._cancellation.is_set:
                result = self._work(self._cancellation)
        except StudioError as known:
            error = known
        except Exception as unknown:  # noqa: BLE001 - it is handed on in words, with its cause
            error = _wrap(unknown)
        self._outcome_ready.emit(result, error)

    @Slot(object, object)
    def _on_outcome_ready(self, result: object, error: StudioError | None) -> None:
        if not self._cancellation.is_set:
            if error is None:
                self.succeeded.emit(result)
            else:
                self.failed.emit(error)
        self.ended.emit()


class Background(QObject):
    """Starts background calls and keeps them alive until they have ended."""

    def __init__(self, parent: QObject | None = None, max_threads: int = 2) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(max_threads)
        self._calls: set[BackgroundCall] = set()

    def start(
        self,
        work: Work,
        on_result: Callable[[Any], object],
        on_error: Callable[[StudioError], object] | None = None,
    ) -> BackgroundCall:
        """Starts ``work`` and returns the call; the callbacks run on the GUI thread."""
        call = BackgroundCall(work)
        call.succeeded.connect(on_result)
        if on_error is not None:
            call.failed.connect(on_error)
        call.ended.connect(lambda: self._calls.discard(call))
        self._calls.add(call)
        self._pool.start(call.run)
        return call

    @property
    def is_busy(self) -> bool:
        """True while at least one call has not ended."""
        return bool(self._calls)

    def close(self, timeout_seconds: float = 1.0) -> bool:
        """Cancels every call and returns True when all threads ended in time."""
        for call in self._calls:
            call.cancel()
        self._pool.clear()
        return self._pool.waitForDone(int(timeout_seconds * 1000))


def _wrap(error: Exception) -> StudioError:
    wrapped = StudioError(
        f"Something unexpected went wrong: {type(error).__name__}: {error}",
        "Please try again. If it happens again, report it with this text.",
        code="unexpected",
    )
    wrapped.__cause__ = error
    return wrapped
