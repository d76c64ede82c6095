"""Which prompts must still work, and the job that asks them."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.events.measures import ProbeAnswered
from studio.core.events.types import Event, NoticeRaised
from studio.core.forgetting.probes import (
    Probe,
    load_own_probes,
    load_probes,
    parse_lines,
    save_own_probes,
)
from studio.core.jobs.orders import ForgettingOrder
from studio.core.paths import Home
from studio.core.runs.record import RunRecord
from studio.core.runs.words import describe_phase
from studio.gui.bridge.adapter_selection import BASE, AdapterSelection
from studio.gui.bridge.background import Background
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed


class ForgettingPresenter(QObject):
    """Runs one check at a time; the user's own prompts are kept in the home.

    Signals:
        own_loaded: The user's own prompts, as a tuple of ``Probe``.
        progressed: Words, prompts done, prompts in total (0: nobody knows).
        finished: All ``ProbeAnswered`` (list) and the columns (tuple), the base first.
        noticed: A ``StudioError`` in words although the check goes on.
        stopped: The check ended because the user wished it.
        failed: A ``StudioError``.
    """

    own_loaded = Signal(object)
    progressed = Signal(str, int, int)
    finished = Signal(list, object)
    noticed = Signal(object)
    stopped = Signal()
    failed = Signal(object)

    def __init__(
        self,
        feed: RunFeed,
        background: Background,
        home: Home,
        selection: AdapterSelection,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._feed = feed
        self._background = background
        self._home = home
        self._selection = selection
        self._job: LiveJob | None = None
        self._columns: tuple[str, ...] = ()
        self._answered: list[ProbeAnswered] = []

    @property
    def is_busy(self) -> bool:
        """True while a check runs."""
        return self._job is not None

    @property
    def obstacle(self) -> str:
        """Why nothing can be checked yet, empty when it can."""
        return "" if self._selection.adapters else "Add the adapter to check first."

    def load_own(self) -> None:
        """Reads the user's own prompts."""
        self._background.start(
            lambda _: load_own_probes(self._home), self.own_loaded.emit, self.failed.emit
        )

    def start(self, own_text: str) -> None:
        """Keeps the user's own prompts and asks them and the built-in ones."""
        if self.is_busy or self.obstacle:
            return

        def prepare() -> tuple[Probe, ...]:
            own = parse_lines(own_text)
            save_own_probes(self._home, own)
            return (*own, *load_probes())

        self.progressed.emit("Starting", 0, 0)
        self._background.start(lambda _: prepare(), self._on_prepared, self.failed.emit)

    def stop(self) -> None:
        """Asks the check to end."""
        if self._job is not None:
            self._job.stop()

    def _on_prepared(self, probes: tuple[Probe, ...]) -> None:
        if self.is_busy or self.obstacle:
            return
        order = ForgettingOrder(
            base=self._selection.base,
            adapters=self._selection.folders,
            probes=probes,
            quantisation=self._selection.form,
        )
        self._columns = (BASE, *order.adapters)
        self._answered = []
        job = self._feed.start_job(order)
        self._job = job
        job.changed.connect(self._on_job_changed)
        job.events_arrived.connect(self._on_job_events_arrived)
        job.ended.connect(self._on_job_ended)
        job.launch_failed.connect(self._on_job_launch_failed)

    def _on_job_changed(self) -> None:
        if self._job is None or self._job.record.is_over:
            return
        if self._answered:
            last = self._answered[-1]
            self.progressed.emit("Asking", last.done_probes, last.total_probes)
        else:
            self.progressed.emit(describe_phase(self._job.record), 0, 0)

    def _on_job_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, ProbeAnswered):
                self._answered.append(event)
            elif isinstance(event, NoticeRaised) and event.severity == "warning":
                self.noticed.emit(StudioError(event.message, event.remedy, code=event.code))
        self._on_job_changed()

    def _on_job_ended(self, record: RunRecord) -> None:
        self._job = None
        if record.status == "finished" and self._answered:
            self.finished.emit(self._answered, self._columns)
        elif record.status == "stopped":
            self.stopped.emit()
        else:
            failure = record.failure
            error = StudioError("The check ended without a result.", "Try again.")
            if failure is not None:
                error = StudioError(failure.message, failure.remedy, code=failure.code)
            self.failed.emit(error)

    def _on_job_launch_failed(self, error: StudioError) -> None:
        self._job = None
        self.failed.emit(error)
