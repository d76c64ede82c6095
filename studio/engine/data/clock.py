"""Ends Python code of strangers that runs too long, on every system and in every thread."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from studio.core.errors import DatasetInvalid

LIMIT_SECONDS = 5.0
"""Time for writing one conversation; real templates need less than a thousandth of a second."""
_TICK_SECONDS = 0.25
_GRACE_STEPS = 50

Result = TypeVar("Result")


class _TimeIsUp(BaseException):
    """Raised by the clock inside the code that is watched; nothing there may catch it."""


class RenderClock:
    """Watches calls in the current thread; a second thread looks at the time.

    As a context manager the second thread is kept for many calls; otherwise each call has its own.
    What hangs inside a single operation of the interpreter cannot be ended: the sandbox forbids
    such operations.
    """

    def __init__(self, limit_seconds: float | None = None) -> None:
        self._limit = LIMIT_SECONDS if limit_seconds is None else limit_seconds
        self._lock = threading.Lock()
        self._ends: float | None = None
        self._has_fired = False
        self._stop: threading.Event | None = None
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> RenderClock:
        stop = threading.Event()
        arguments = (stop, threading.get_ident())
        watcher = threading.Thread(target=self._watch, args=arguments, name="clock", daemon=True)
        self._stop, self._watcher = stop, watcher
        watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stop is not None and self._watcher is not None:
            self._stop.set()
            self._watcher.join(timeout=1)
        self._stop = self._watcher = None

    def run(self, call: Callable[[], Result]) -> Result:
        """Return what ``call`` returns.

        Raises:
            DatasetInvalid: It took longer than the limit.
        """
        if self._stop is None:
            with self:
                return self.run(call)
        try:
            try:
                self._ends = time.monotonic() + self._limit
                return call()
            finally:
                self._disarm()
        except _TimeIsUp as error:
            self._ends, self._has_fired = None, False
            raise DatasetInvalid(
                f"The chat template needs more than {self._limit:g} seconds for one row, so it was "
                "ended.",
                "Choose another template. Templates from strangers can be made to block a program.",
                code="template_too_slow",
            ) from error

    def _disarm(self) -> None:
        with self._lock:
            self._ends = None
            has_fired = self._has_fired
        if has_fired:  # the interruption is on its way; it must not arrive anywhere else
            for _ in range(_GRACE_STEPS):
                time.sleep(0.001)
            raise _TimeIsUp

    def _watch(self, stop: threading.Event, thread: int) -> None:
        while not stop.wait(min(_TICK_SECONDS, self._limit / 2)):
            with self._lock:
                ends = self._ends
                if ends is not None and time.monotonic() > ends:
                    # Again at every tick: what arrives inside a destructor is lost.
                    self._has_fired = True
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(thread), ctypes.py_object(_TimeIsUp)
                    )
