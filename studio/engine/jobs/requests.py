"""The user's requests to a job, from the control file and from the system's signals."""

from __future__ import annotations

from studio.core.jobs.control import ControlTail
from studio.core.jobs.orders import AnyRequest, Stop


class StopWished(Exception):
    """The user wants the job to end, and it had nothing to save yet."""


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
