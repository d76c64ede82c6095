"""The user's requests to a job, from the control file and from the system's signals."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import wraps
from typing import ParamSpec, TypeVar

from studio.core.events.types import Event, RunStopped
from studio.core.jobs.control import ControlTail
from studio.core.jobs.orders import AnyRequest, Stop


class StopWished(Exception):
    """The user wants the job to end, and it had nothing to save yet."""


Asked = ParamSpec("Asked")
Step = TypeVar("Step")
Result = TypeVar("Result")


class RequestFeed:
    """Requests in the order they came; ``stop`` may be called from a signal handler."""

    def __init__(self, tail: ControlTail) -> None:
        self._tail = tail
        self._waiting: list[AnyRequest] = []
        self._is_stopped = False

    def stop(self) -> None:
        """Adds the wish to end, as if the Stop button had been pressed."""
        self._is_stopped = True

    def poll(self) -> list[AnyRequest]:
        """Returns the requests since the last call, oldest first, without waiting."""
        self._read()
        requests, self._waiting = self._waiting, []
        return requests

    def check_stop(self) -> None:
        """Returns quietly unless the user wants to end; other requests stay for ``poll``.

        Raises:
            StopWished: The user pressed Stop.
        """
        self._read()
        if any(isinstance(request, Stop) for request in self._waiting):
            raise StopWished

    def _read(self) -> None:
        self._waiting += self._tail.read()
        if self._is_stopped:
            self._is_stopped = False
            self._waiting.append(Stop())


def ends_when_stopped(run: Callable[Asked, Iterator[Event]]) -> Callable[Asked, Iterator[Event]]:
    """Lets a job end with RunStopped where the user wished it and nothing was to be saved."""

    @wraps(run)
    def run_until_stopped(*asked: Asked.args, **named: Asked.kwargs) -> Iterator[Event]:
        try:
            yield from run(*asked, **named)
        except StopWished:
            yield RunStopped(step=0)

    return run_until_stopped


def follow_until_stopped(
    steps: Generator[Step, None, Result], control: RequestFeed
) -> Generator[Step, None, Result]:
    """Yields what ``steps`` yield and returns what they return.

    Raises:
        StopWished: The user pressed Stop between two of them; they are closed, so that they take
            back what they have begun.
    """
    with closing(steps):
        while True:
            control.check_stop()
            try:
                step = next(steps)
            except StopIteration as end:
                result: Result = end.value
                return result
            yield step
