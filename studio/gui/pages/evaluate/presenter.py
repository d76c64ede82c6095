"""What is measured on which rows, the evaluate job, and the evaluations that are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.events.measures import EvaluationFinished, EvaluationProgressed, RowEvaluated
from studio.core.events.types import Event, NoticeRaised
from studio.core.jobs.orders import EvaluateOrder
from studio.core.results.result import EvaluationResult, build_result
from studio.core.results.store import ResultStore
from studio.core.units import format_things
from studio.gui.bridge.adapter_selection import AdapterSelection
from studio.gui.bridge.background import Background
from studio.gui.bridge.one_job import OneJob
from studio.gui.bridge.run_feed import RunFeed
from studio.gui.pages.evaluate.rows_card import RowsWish
from studio.gui.parts.kept_card import KeptEntry

_PARTS = {"loss": "Measuring the losses", "answers": "Writing answers"}


class EvaluatePresenter(QObject):
    """Runs one evaluation at a time and keeps its result.

    Signals:
        progressed: Words, rows done, rows in total (0: nobody knows).
        finished: The ``EvaluationResult`` that was just measured or opened again.
        stopped: The evaluation ended because the user wished it.
        failed: A ``StudioError``.
        listed: A ``KeptEntry`` of every kept evaluation, newest first.
    """

    progressed = Signal(str, int, int)
    finished = Signal(object)
    stopped = Signal()
    failed = Signal(object)
    listed = Signal(list)

    def __init__(
        self,
        feed: RunFeed,
        background: Background,
        store: ResultStore,
        selection: AdapterSelection,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._background = background
        self._store = store
        self._selection = selection
        self.job = OneJob(feed, "The evaluation", self)
        self._order: EvaluateOrder | None = None
        self._rows: list[RowEvaluated] = []
        self._notices: list[str] = []
        self._done: EvaluationFinished | None = None
        self._progress: EvaluationProgressed | None = None
        self.job.phase_changed.connect(self._on_job_phase_changed)
        self.job.events_arrived.connect(self._on_job_events_arrived)
        self.job.finished.connect(self._on_job_finished)
        self.job.stopped.connect(self.stopped)
        self.job.failed.connect(self.failed)

    def find_obstacle(self, rows: RowsWish) -> str:
        """Returns why nothing can be measured yet, empty when it can."""
        if not self._selection.base:
            return "Add an adapter or choose a base first."
        if not rows.run and not rows.data:
            return "Choose the rows to measure on."
        return ""

    def start(self, rows: RowsWish, metrics: tuple[str, ...], max_new_tokens: int) -> None:
        """Starts to measure."""
        if self.job.is_busy or self.find_obstacle(rows):
            return
        self._order = EvaluateOrder(
            base=self._selection.base,
            adapters=self._selection.folders,
            data=rows.data,
            run=rows.run or None,
            limit=rows.limit or None,
            columns=dict(rows.columns),
            metrics=metrics,
            max_new_tokens=max_new_tokens,
            quantisation=self._selection.form,
        )
        self._rows, self._notices, self._done, self._progress = [], [], None, None
        self.job.start(self._order)

    def load_list(self) -> None:
        """Reads which evaluations are kept."""
        self._start(self._list, self.listed.emit)

    def open(self, folder: Path) -> None:
        """Opens a kept evaluation."""
        self._start(lambda: self._store.load(folder), self.finished.emit)

    def delete(self, folder: Path) -> None:
        """Deletes a kept evaluation."""

        def work() -> object:
            self._store.delete(folder)
            return self._list()

        self._start(work, self.listed.emit)

    def _list(self) -> list[KeptEntry]:
        return [
            KeptEntry(folder, one.name, format_things(one.rows, "row"), one.time_seconds)
            for folder, one in self._store.list()
        ]

    def _start(self, work: Callable[[], object], on_result: Callable[[object], object]) -> None:
        self._background.start(lambda _: work(), on_result, self.failed.emit)

    def _on_job_phase_changed(self, words: str) -> None:
        progress = self._progress
        if progress is None:
            self.progressed.emit(words, 0, 0)
        else:
            self.progressed.emit(_PARTS[progress.part], progress.done_rows, progress.total_rows)

    def _on_job_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, EvaluationProgressed):
                self._progress = event
            elif isinstance(event, RowEvaluated):
                self._rows.append(event)
            elif isinstance(event, EvaluationFinished):
                self._done = event
            elif isinstance(event, NoticeRaised):
                self._notices.append(f"{event.message} {event.remedy}".strip())
        if self._progress is not None:
            self._on_job_phase_changed("")

    def _on_job_finished(self) -> None:
        if self._done is None or self._order is None:
            self.job.fail()
            return
        result = build_result(self._order, self._done, self._rows, notices=self._notices)
        self._start(lambda: self._store.save(result), self._on_result_saved)

    def _on_result_saved(self, result: object) -> None:
        if isinstance(result, EvaluationResult):
            self.finished.emit(result)
        self.load_list()
