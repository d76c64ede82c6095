"""Reading along while a child job works: its facts in order, until it has ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from studio.core.events.tail import EventTail
from studio.core.events.types import Event
from studio.core.runs.layout import RunLayout

POLL_SECONDS = 0.05


class Waitable(Protocol):
    """What reading along needs to know of a process; ``JobProcess`` is one."""

    def poll(self) -> int | None:
        """Return None while the process runs, then its exit code."""

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Wait a while for the end of the process."""


def follow(layout: RunLayout, process: Waitable, *, offset: int = 0) -> Iterator[Event]:
    """Yield the job's events from byte ``offset`` of its journal until the process has ended.

    Ends without a closing fact if the process died; ``studio.core.runs.liveness`` has the words.
    """
    tail = EventTail(layout.events, offset=offset)
    while True:
        has_ended = process.poll() is not None
        events = tail.read()
        yield from events
        if has_ended and not events:
            return
        if not events:
            process.wait(POLL_SECONDS)
