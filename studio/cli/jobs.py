"""Running a child job from the command line: progress for people, Ctrl-C as the Stop button."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from studio.cli.console import Console
from studio.core.errors import JobDied, StudioError
from studio.core.events.types import (
    AnswerFinished,
    CheckpointSaved,
    DataProblemFound,
    Event,
    JobStarted,
    RunFailed,
)
from studio.core.jobs.control import send
from studio.core.jobs.follow import follow
from studio.core.jobs.orders import AnyOrder, Stop
from studio.core.jobs.process import start_job
from studio.core.paths import Home
from studio.core.runs.layout import RunLayout
from studio.core.runs.words import describe_event

FORM_HELP = (
    "how the base is held: auto (as the adapters saw it in training; the default), none (as in its "
    "files), int8 or nf4 (8 or 4 bits)"
)
"""What ``--quantisation`` means for commands that use adapters."""
_SILENT = (AnswerFinished, CheckpointSaved, DataProblemFound, JobStarted, RunFailed)
"""Facts that the commands tell in their own way, or that would only repeat what was said."""


def run_job(
    layout: RunLayout, order: AnyOrder, console: Console, on_event: Callable[[Event], None]
) -> None:
    """Start the job, hand each event to ``on_event`` and return when it has ended well or stopped.

    Raises:
        StudioError: The job failed, in its own words; JobDied if it ended without any.
    """
    offset = layout.events.stat().st_size if layout.events.exists() else 0
    process = start_job(layout, order)
    failure: RunFailed | None = None
    with _stop_on_interrupt(layout, console):
        for event in follow(layout, process, offset=offset):
            show_event(event, console)
            if isinstance(event, RunFailed):
                failure = event
            on_event(event)
    if failure is not None:
        raise StudioError(failure.message, failure.remedy, code=failure.code)
    code = process.poll()
    if code not in (0, None):
        raise JobDied(
            f"The job ended without a word (exit code {code}).",
            f"What it wrote last is in {layout.log}.",
        )


def show_event(event: Event, console: Console) -> None:
    """Say what an event means, in the words of the window's log."""
    words = None if isinstance(event, _SILENT) else describe_event(event)
    if words:
        console.say(words)


@contextmanager
def short_lived(home: Home) -> Iterator[RunLayout]:
    """Yield the layout of a new job folder that is deleted afterwards."""
    home.jobs.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="cli-", dir=home.jobs))
    try:
        yield RunLayout(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _stop_on_interrupt(layout: RunLayout, console: Console) -> Iterator[None]:
    """Turn the first Ctrl-C into a Stop request; a second one ends the command line at once."""

    def ask_to_stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, previous)
        console.say("Stopping: the state is being saved. Press Ctrl-C again to leave at once.")
        send(layout, Stop())

    previous = signal.signal(signal.SIGINT, ask_to_stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
