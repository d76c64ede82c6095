"""The inside job and what it has measured."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from studio.core.events.measures import AdapterMeasured, InsideProgressed, SimilarityMeasured
from studio.core.events.types import Event, NoticeRaised
from studio.core.jobs.orders import InsideOrder
from studio.gui.bridge.adapter_selection import AdapterSelection
from studio.gui.bridge.one_job import OneJob
from studio.gui.bridge.run_feed import RunFeed


@dataclass(frozen=True)
class InsideLook:
    """All that was measured: adapters, pairs of them, and what the numbers leave out."""

    adapters: tuple[AdapterMeasured, ...]
    similar: tuple[SimilarityMeasured, ...]
    notices: tuple[str, ...] = ()


class InsidePresenter(QObject):
    """Looks into the chosen adapters, once at a time.

    Signals:
        progressed: Words, modules done, modules in total (0: nobody knows).
        finished: The ``InsideLook``.
        stopped: The job ended because the user wished it.
        failed: A ``StudioError``.
    """

    progressed = Signal(str, int, int)
    finished = Signal(object)
    stopped = Signal()
    failed = Signal(object)

    def __init__(
        self, feed: RunFeed, selection: AdapterSelection, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._selection = selection
        self._adapters: list[AdapterMeasured] = []
        self._similar: list[SimilarityMeasured] = []
        self._notices: list[str] = []
        self._progress: InsideProgressed | None = None
        self.job = OneJob(feed, "The look inside", self)
        self.job.phase_changed.connect(self._on_job_phase_changed)
        self.job.events_arrived.connect(self._on_job_events_arrived)
        self.job.finished.connect(self._on_job_finished)
        self.job.stopped.connect(self.stopped)
        self.job.failed.connect(self.failed)

    @property
    def obstacle(self) -> str:
        """Why there is nothing to look into yet, empty when there is."""
        return "" if self._selection.adapters else "Add an adapter first."

    def start(self) -> None:
        """Starts to measure."""
        if self.obstacle or self.job.is_busy:
            return
        self._adapters, self._similar, self._notices = [], [], []
        self._progress = None
        order = InsideOrder(adapters=self._selection.folders, base=self._selection.base)
        self.job.start(order)

    def _on_job_phase_changed(self, words: str) -> None:
        progress = self._progress
        if progress is None:
            self.progressed.emit(words, 0, 0)
        else:
            self.progressed.emit("Measuring", progress.done_modules, progress.total_modules)

    def _on_job_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, AdapterMeasured):
                self._adapters.append(event)
            elif isinstance(event, SimilarityMeasured):
                self._similar.append(event)
            elif isinstance(event, InsideProgressed):
                self._progress = event
            elif isinstance(event, NoticeRaised):
                self._notices.append(f"{event.message} {event.remedy}".strip())

    def _on_job_finished(self) -> None:
        look = InsideLook(tuple(self._adapters), tuple(self._similar), tuple(self._notices))
        self.finished.emit(look)
