"""Whether somebody is still there to ask a job that waits for requests."""

from __future__ import annotations

import os
import time

from studio.core.runs.liveness import find_mark

_ORPHAN_SECONDS = 120.0


class Presence:
    """Remembers when somebody last asked, and which program started the job."""

    def __init__(self) -> None:
        self._parent = find_mark(os.getppid())
        self._asked_at = time.monotonic()

    def note(self) -> None:
        """Remembers that somebody asked just now."""
        self._asked_at = time.monotonic()

    @property
    def is_abandoned(self) -> bool:
        """True when nobody asked for two minutes and the program that started the job is gone."""
        if time.monotonic() - self._asked_at < _ORPHAN_SECONDS:
            return False
        return self._parent is None or not self._parent.is_alive()
