"""One job as the pages see it: its state, its newest facts and the wishes it takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.events.types import Event
from studio.core.jobs.orders import AnyRequest, Pause, Resume, SaveCheckpoint, Stop
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore
from studio.core.runs.words import describe_event
from studio.gui.bridge.curves import RunCurves
from studio.gui.bridge.job_thread import JobThread, Launched
from studio.gui.bridge.run_log import LOG_EVENTS_KEPT


class LiveJob(QObject):
    """Lives on the GUI thread and keeps what its worker thread last told.

    Signals:
        known: The job exists; ``folder`` is set.
        changed: ``record`` or ``curves`` are newer.
        events_arrived: New events, in order, at most ten times a second.
        request_failed: A ``StudioError``; the job itself goes on.
        launch_failed: The job never came to life; a ``StudioError``.
        ended: The job is over; carries the last ``RunRecord``.
    """

    known = Signal()
    changed = Signal()
    events_arrived = Signal(list)
    request_failed = Signal(object)
    launch_failed = Signal(object)
    ended = Signal(object)

    def __init__(
        self, store: RunStore, launch: Callable[[], Launched], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.folder = ""
        self.record = RunRecord()
        self.curves: RunCurves | None = None
        self.is_over = False
        self.is_stopping = False
        self._log: deque[Event] = deque(maxlen=LOG_EVENTS_KEPT)
        self._thread = JobThread(store, launch)
        self._thread.job_known.connect(self._on_thread_job_known)
        self._thread.launch_failed.connect(self._on_thread_launch_failed)
        self._thread.curves_changed.connect(self._on_thread_curves_changed)
        self._thread.record_changed.connect(self._on_thread_record_changed)
        self._thread.events_arrived.connect(self._on_thread_events_arrived)
        self._thread.request_failed.connect(self.request_failed)
        self._thread.job_ended.connect(self._on_thread_job_ended)

    @property
    def log(self) -> list[Event]:
        """The newest events that have a log line, in order."""
        return list(self._log)

    def start(self) -> None:
        """Starts the worker thread, which launches the job."""
        self._thread.start()

    def send(self, request: AnyRequest) -> None:
        """Passes a request to the job."""
        self._thread.request(request)

    def pause(self) -> None:
        """Asks the job to wait after the current step."""
        self.send(Pause())

    def go_on(self) -> None:
        """Asks a paused job to go on."""
        self.send(Resume())

    def save_now(self) -> None:
        """Asks the job to save a checkpoint after the current step."""
        self.send(SaveCheckpoint())

    def stop(self) -> None:
        """Asks the job to save everything and end."""
        self.is_stopping = True
        self.send(Stop())
        self.changed.emit()

    def kill(self) -> None:
        """Ends the job at once; what was not saved is lost."""
        self._thread.kill()

    def request_close(self) -> None:
        """Asks the worker thread to end, without waiting."""
        self._thread.request_close()

    def close(self, timeout_seconds: float = 1.0) -> bool:
        """Ends the worker thread, not the job; returns True when it ended in time."""
        return self._thread.close(timeout_seconds)

    def _on_thread_job_known(self, folder: str) -> None:
        self.folder = folder
        self.known.emit()

    def _on_thread_launch_failed(self, error: StudioError) -> None:
        self.is_over = True
        self.launch_failed.emit(error)

    def _on_thread_curves_changed(self, curves: RunCurves) -> None:
        self.curves = curves

    def _on_thread_record_changed(self, record: RunRecord) -> None:
        self.record = record
        self.changed.emit()

    def _on_thread_events_arrived(self, events: list[Event]) -> None:
        self._log.extend(event for event in events if describe_event(event) is not None)
        self.events_arrived.emit(events)

    def _on_thread_job_ended(self, record: RunRecord) -> None:
        self.is_over = True
        self.is_stopping = False
        self.record = record
        self.ended.emit(record)
