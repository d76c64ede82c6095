"""One job at a time as a page sees it: at work, then done, stopped or failed."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.jobs.orders import AnyOrder
from studio.core.runs.record import RunRecord
from studio.core.runs.words import describe_phase
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed


class OneJob(QObject):
    """Starts a job unless one is running; ``what`` names the work for people.

    Signals:
        phase_changed: What is done now, in words.
        events_arrived: New events, in order.
        finished: The job has done all it was asked.
        stopped: The job ended because the user wished it.
        failed: A ``StudioError``; the job ended early or never began.
    """

    phase_changed = Signal(str)
    events_arrived = Signal(list)
    finished = Signal()
    stopped = Signal()
    failed = Signal(object)

    def __init__(self, feed: RunFeed, what: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._feed = feed
        self._what = what
        self.job: LiveJob | None = None

    @property
    def is_busy(self) -> bool:
        """True while a job runs."""
        return self.job is not None

    def start(self, order: AnyOrder) -> None:
        """Starts a job; does nothing while another one runs."""
        if self.job is not None:
            return
        job = self._feed.start_job(order)
        self.job = job
        job.changed.connect(self._on_job_changed)
        job.events_arrived.connect(self.events_arrived)
        job.ended.connect(self._on_job_ended)
        job.launch_failed.connect(self._on_job_launch_failed)
        self.phase_changed.emit("Starting")

    def stop(self) -> None:
        """Asks the job to end."""
        if self.job is not None:
            self.job.stop()

    def fail(self) -> None:
        """Tells that a job that ended well has no result."""
        self.failed.emit(StudioError(f"{self._what} ended without a result.", "Try again."))

    def _on_job_changed(self) -> None:
        if self.job is not None and not self.job.record.is_over:
            self.phase_changed.emit(describe_phase(self.job.record))

    def _on_job_ended(self, record: RunRecord) -> None:
        self.job = None
        failure = record.failure
        if record.status == "finished":
            self.finished.emit()
        elif record.status == "stopped":
            self.stopped.emit()
        elif failure is not None:
            self.failed.emit(StudioError(failure.message, failure.remedy, code=failure.code))
        else:
            self.fail()

    def _on_job_launch_failed(self, error: StudioError) -> None:
        self.job = None
        self.failed.emit(error)
