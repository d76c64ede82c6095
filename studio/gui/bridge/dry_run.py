"""The dry run behind the Measure button: two steps in a child, remembered for later forecasts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.errors import JobDied, StudioError
from studio.core.events.types import DryRunMeasured, Event
from studio.core.jobs.orders import MeasureOrder
from studio.core.memory.forecast import Forecast
from studio.core.memory.measured import DryRun, learn
from studio.core.memory.rows import RowLengths
from studio.core.paths import Home
from studio.core.recipe.schema import Recipe
from studio.core.runs.record import RunRecord
from studio.core.runs.words import describe_phase
from studio.gui.bridge.background import Background
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed


@dataclass(frozen=True)
class Measured:
    """What a dry run saw, and the forecast that it is compared with."""

    result: DryRunMeasured
    rows: RowLengths
    forecast: Forecast

    @property
    def error(self) -> float:
        """The forecast against the measured peak: 0.05 is five percent too much."""
        return self.forecast.ledger.total_bytes / self.result.peak_bytes - 1


class DryRunJob(QObject):
    """At most one dry run at a time.

    Signals:
        progressed: What the job does now, in words.
        measured: A ``Measured``; it is remembered already.
        failed: A ``StudioError``.
        stopped: The user ended it.
    """

    progressed = Signal(str)
    measured = Signal(object)
    failed = Signal(object)
    stopped = Signal()

    def __init__(
        self, feed: RunFeed, background: Background, home: Home, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._feed = feed
        self._background = background
        self._home = home
        self._job: LiveJob | None = None
        self._seen = DryRun()
        self._forecast: Forecast | None = None

    @property
    def is_running(self) -> bool:
        """Whether a dry run is at work."""
        return self._job is not None

    def start(self, recipe: Recipe, base_folder: Path, forecast: Forecast) -> None:
        """Starts a dry run of ``recipe``, to be compared with its ``forecast``."""
        if self._job is not None:
            return
        self._seen, self._forecast = DryRun(), forecast
        job = self._feed.start_job(MeasureOrder(base_folder=str(base_folder)), recipe)
        self._job = job
        job.events_arrived.connect(self._on_events_arrived)
        job.changed.connect(self._on_changed)
        job.launch_failed.connect(self._on_launch_failed)
        job.ended.connect(self._on_ended)
        self.progressed.emit("Starting")

    def stop(self) -> None:
        """Asks the job to end; what it measured so far is dropped."""
        if self._job is not None:
            self._job.stop()
            self.progressed.emit("Stopping")

    def _on_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            self._seen.take(event)

    def _on_changed(self) -> None:
        if self._job is None or self._job.is_stopping:
            return
        record = self._job.record
        words = describe_phase(record)
        self.progressed.emit("Two steps on the longest rows" if words == "Training" else words)

    def _on_launch_failed(self, error: StudioError) -> None:
        self._job = None
        self.failed.emit(error)

    def _on_ended(self, record: RunRecord) -> None:
        self._job = None
        result, rows, forecast = self._seen.result, self._seen.rows, self._forecast
        if record.failure is not None:
            failure = record.failure
            self.failed.emit(StudioError(failure.message, failure.remedy, code=failure.code))
        elif result is None or rows is None or forecast is None:
            if record.status == "interrupted":
                self.failed.emit(
                    JobDied("The measurement ended without saying why.", "Please try again.")
                )
            else:
                self.stopped.emit()
        else:
            self._remember(Measured(result, rows, forecast))

    def _remember(self, measured: Measured) -> None:
        question, home = measured.forecast.question, self._home
        self._background.start(
            lambda _cancellation: learn(
                home,
                question.recipe,
                question.anatomy,
                question.device,
                measured.rows,
                measured.result,
            ),
            lambda _found: self.measured.emit(measured),
            self.failed.emit,
        )
