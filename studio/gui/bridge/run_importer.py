"""Brings adapter folders and capsules into the history, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.events.types import Event, ImportFinished, NoticeRaised
from studio.core.jobs.orders import ImportOrder
from studio.core.paths import Home
from studio.core.runs.record import RunRecord
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed


class RunImporter(QObject):
    """One import at a time; what is asked for meanwhile waits.

    Signals:
        started: The path that is being checked and copied.
        finished: An ``ImportFinished`` and the list of ``NoticeRaised`` about it.
        failed: A ``StudioError``; nothing of this import is left.
    """

    started = Signal(str)
    finished = Signal(object, list)
    failed = Signal(object)

    def __init__(self, feed: RunFeed, home: Home, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._feed = feed
        self._home = home
        self._waiting: deque[str] = deque()
        self._job: LiveJob | None = None
        self._done: ImportFinished | None = None
        self._notices: list[NoticeRaised] = []

    def bring(self, paths: Sequence[str]) -> None:
        """Imports what lies at each of these paths."""
        self._waiting.extend(paths)
        self._start_next()

    def _start_next(self) -> None:
        if self._job is not None or not self._waiting:
            return
        path = self._waiting.popleft()
        self._done, self._notices = None, []
        job = self._feed.start_job(ImportOrder(source=path, home=str(self._home.folder)))
        self._job = job
        job.events_arrived.connect(self._on_job_events_arrived)
        job.ended.connect(self._on_job_ended)
        job.launch_failed.connect(self._on_job_launch_failed)
        self.started.emit(path)

    def _on_job_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, ImportFinished):
                self._done = event
            elif isinstance(event, NoticeRaised):
                self._notices.append(event)

    def _on_job_ended(self, record: RunRecord) -> None:
        self._job = None
        if self._done is not None:
            self.finished.emit(self._done, self._notices)
        elif record.failure is not None:
            failure = record.failure
            self.failed.emit(StudioError(failure.message, failure.remedy, code=failure.code))
        self._start_next()

    def _on_job_launch_failed(self, error: StudioError) -> None:
        self._job = None
        self.failed.emit(error)
        self._start_next()
