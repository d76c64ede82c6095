"""What the user wants of a run while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from studio.core.events.types import Event, RunPaused, RunResumed
from studio.core.jobs.orders import AnswerSamples, Pause, Resume, SaveCheckpoint, Stop
from studio.engine.train.collaborators import Control

_PAUSE_POLL_SECONDS = 0.1

Obey = Callable[[], Iterator[Event]]


class Stopped(Exception):
    """The user wants the run to end; raised between micro-steps."""


class Wishes:
    """Collects the user's requests and waits while the run is paused.

    ``wants_checkpoint`` and ``wants_samples`` stay true until the loop has done it;
    ``paused_seconds`` is the time waited since it was last set to 0.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self.wants_checkpoint = False
        self.wants_samples = False
        self.paused_seconds = 0.0

    def obey(self, step: int, save: Obey | None = None) -> Iterator[Event]:
        """Takes the user's requests; waits while paused.

        With ``save``, a checkpoint wanted while paused is saved at once; without it, it waits for
        the next step.

        Yields:
            RunPaused, RunResumed, and what ``save`` yields.

        Raises:
            Stopped: The user wants the run to end.
        """
        is_paused = False
        start = time.perf_counter()
        while True:
            for request in self._control.poll():
                if isinstance(request, Stop):
                    raise Stopped
                if isinstance(request, SaveCheckpoint):
                    self.wants_checkpoint = True
                elif isinstance(request, AnswerSamples):
                    self.wants_samples = True
                elif isinstance(request, Pause) and not is_paused:
                    is_paused = True
                    yield RunPaused(step=step)
                elif isinstance(request, Resume) and is_paused:
                    is_paused = False
                    yield RunResumed(step=step)
            if is_paused and self.wants_checkpoint and save is not None:
                yield from save()
            if not is_paused:
                self.paused_seconds += time.perf_counter() - start
                return
            time.sleep(_PAUSE_POLL_SECONDS)
