"""What is measured on which rows, the evaluate job, and the evaluations that are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.events.measures import EvaluationFinished, EvaluationProgressed, RowEvaluated
from studio.core.events.types import Event, NoticeRaised
from studio.core.jobs.orders import EvaluateOrder
from studio.core.results.result import EvaluationResult, build_result
from studio.core.results.store import ResultStore
from studio.core.runs.record import RunRecord
from studio.core.runs.words import describe_phase
from studio.gui.bridge.adapter_selection import AdapterSelection
from studio.gui.bridge.background import Background
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed
from studio.gui.pages.evaluate.rows_card import RowsWish

_PARTS = {"loss": "Measuring the losses", "answers": "Writing answers"}


class EvaluatePresenter(QObject):
    """Runs one evaluation at a time and keeps its result.

    Signals:
        progressed: Words, rows done, rows in total (0: nobody knows).
        finished: The ``EvaluationResult`` that was just measured or opened again.
        stopped: The evaluation ended because the user wished it.
        failed: A ``StudioError``.
        listed: Folder and summary of every kept evaluation, newest first.
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
        self._feed = feed
        self._background = background
        self._store = store
        self._selection = selection
        self._job: LiveJob | None = None
        self._order: EvaluateOrder | None = None
        self._rows: list[RowEvaluated] = []
        self._notices: list[str] = []
        self._done: EvaluationFinished | None = None
        self._progress: EvaluationProgressed | None = None

    @property
    def is_busy(self) -> bool:
        """True while an evaluation runs."""
        return self._job is not None

    def find_obstacle(self, rows: RowsWish) -> str:
        """Returns why nothing can be measured yet, empty when it can."""
        if not self._selection.base:
            return "Add an adapter or choose a base first."
        if not rows.run and not rows.data:
            return "Choose the rows to measure on."
        return ""

    def start(self, rows: RowsWish, metrics: tuple[str, ...], max_new_tokens: int) -> None:
        """Starts to measure."""
        if self.is_busy or self.find_obstacle(rows):
            return
        self._order = EvaluateOrder(
            base=self._selection.base,
            adapters=self._selection.folders,
            data=rows.data,
            run=rows.run or None,
            limit=rows.limit or None,
            metrics=metrics,
            max_new_tokens=max_new_tokens,
            quantisation=self._selection.form,
        )
        self._rows, self._notices, self._done, self._progress = [], [], None, None
        job = self._feed.start_job(self._order)
        self._job = job
        job.changed.connect(self._on_job_changed)
        job.events_arrived.connect(self._on_job_events_arrived)
        job.ended.connect(self._on_job_ended)
        job.launch_failed.connect(self._on_job_launch_failed)
        self.progressed.emit("Starting", 0, 0)

    def stop(self) -> None:
        """Asks the evaluation to end."""
        if self._job is not None:
            self._job.stop()

    def load_list(self) -> None:
        """Reads which evaluations are kept."""
        self._background.start(lambda _: self._store.list(), self.listed.emit, self.failed.emit)

    def open(self, folder: Path) -> None:
        """Opens a kept evaluation."""
        self._start(lambda: self._store.load(folder), self.finished.emit)

    def delete(self, folder: Path) -> None:
        """Deletes a kept evaluation."""

        def work() -> object:
            self._store.delete(folder)
            return self._store.list()

        self._start(work, self.listed.emit)

    def _start(self, work: Callable[[], object], on_result: Callable[[object], object]) -> None:
        self._background.start(lambda _: work(), on_result, self.failed.emit)

    def _on_job_changed(self) -> None:
        if self._job is None or self._job.record.is_over:
            return
        progress = self._progress
        if progress is None:
            self.progressed.emit(describe_phase(self._job.record), 0, 0)
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
        self._on_job_changed()

    def _on_job_ended(self, record: RunRecord) -> None:
        self._job = None
        if record.status == "stopped":
            self.stopped.emit()
        elif record.status == "finished" and self._done is not None and self._order is not None:
            result = build_result(self._order, self._done, self._rows, notices=self._notices)
            self._start(lambda: self._store.save(result), self._on_result_saved)
        else:
            failure = record.failure
            error = StudioError("The evaluation ended without a result.", "Try again.")
            if failure is not None:
                error = StudioError(failure.message, failure.remedy, code=failure.code)
            self.failed.emit(error)

    def _on_job_launch_failed(self, error: StudioError) -> None:
        self._job = None
        self.failed.emit(error)

    def _on_result_saved(self, result: object) -> None:
        if isinstance(result, EvaluationResult):
            self.finished.emit(result)
        self.load_list()
