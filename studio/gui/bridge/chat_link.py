"""One base model held in memory by a chat job, with columns that come and go beside it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from studio.core.errors import StudioError
from studio.core.events import types
from studio.core.events.types import Event
from studio.core.jobs.orders import AddColumn, Ask, CancelAsk, ChatOrder, RemoveColumn
from studio.core.runs.record import RunRecord
from studio.core.runs.words import describe_phase
from studio.core.weights.quantisable import BaseForm
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed

# Nine cards that grow at once would hold the window up for longer than a frame.
_COLUMNS_AT_ONCE = 3


class ChatLink(QObject):
    """Loads a base once; adapters join and leave without loading it again.

    Questions wait until the base and the columns they are for are there. The numbers of requests
    come from ``take_number``.

    Signals:
        loading: Something is being loaded; words for people.
        ready: The base and all wanted columns can answer.
        noticed: Words of the job that the user should see, as a ``StudioError``.
        column_refused: Name of a column that is not there after all, and a ``StudioError``.
        failed: The job ended with a ``StudioError``; ``open`` starts it again.
        answers_began: The answers to this request are being written.
        text_added: Request, column and a piece of its answer.
        answer_finished: The ``AnswerFinished`` fact of one answer.
        request_failed: Request number and why there are no answers.
    """

    loading = Signal(str)
    ready = Signal()
    noticed = Signal(object)
    column_refused = Signal(str, object)
    failed = Signal(object)
    answers_began = Signal(int)
    text_added = Signal(int, str, str)
    answer_finished = Signal(object)
    request_failed = Signal(int, str)

    def __init__(self, feed: RunFeed, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._feed = feed
        self._job: LiveJob | None = None
        self._base = ""
        self._form: BaseForm = "auto"
        self._folders: dict[str, Path] = {}
        self._joining: dict[int, str] = {}
        self._waiting: list[Ask] = []
        self._is_base_ready = False
        self._number = 0
        self._pieces: dict[tuple[int, str], str] = {}
        self._finished: dict[tuple[int, str], types.AnswerFinished] = {}
        self._teller = QTimer(self)
        self._teller.timeout.connect(self._tell_some)

    @property
    def is_ready(self) -> bool:
        """Whether questions are answered at once."""
        return self._is_base_ready and not self._joining

    @property
    def is_open(self) -> bool:
        """Whether there is a job that answers or will do so when it has loaded."""
        return self._job is not None

    @property
    def job(self) -> LiveJob | None:
        """The chat job, None while nothing is loaded."""
        return self._job

    def take_number(self) -> int:
        """Returns a number that no other request of this link has."""
        self._number += 1
        return self._number

    def set_form(self, form: BaseForm) -> None:
        """Says how the base is held from the next ``open`` on."""
        self._form = form

    def open(self, base: str) -> None:
        """Loads a base, and with it all columns that were added."""
        self.close()
        self._base = base
        expected = tuple(str(folder) for folder in self._folders.values())
        job = self._feed.start_job(ChatOrder(base=base, expected=expected, quantisation=self._form))
        self._job = job
        job.changed.connect(self._on_job_changed)
        job.events_arrived.connect(self._on_job_events_arrived)
        job.ended.connect(self._on_job_ended)
        job.launch_failed.connect(self._on_job_launch_failed)
        self.loading.emit("Starting")
        for name in self._folders:
            self._join(name)

    def close(self) -> None:
        """Gives the memory back; questions that wait are dropped, wanted columns are kept."""
        job, self._job = self._job, None
        self._is_base_ready = False
        self._joining.clear()
        self._waiting.clear()
        self._pieces.clear()
        self._finished.clear()
        self._teller.stop()
        if job is None:
            return
        job.changed.disconnect(self._on_job_changed)
        job.events_arrived.disconnect(self._on_job_events_arrived)
        job.ended.disconnect(self._on_job_ended)
        job.launch_failed.disconnect(self._on_job_launch_failed)
        if not job.is_over:
            job.stop()

    def add(self, column: str, folder: Path) -> None:
        """Loads one adapter more; it answers from the next question on."""
        self._folders[column] = folder
        if self._job is not None:
            self._join(column)

    def remove(self, column: str) -> None:
        """Unloads one adapter."""
        self._folders.pop(column, None)
        is_joining = column in self._joining.values()
        self._joining = {key: name for key, name in self._joining.items() if name != column}
        if self._job is not None:
            self._job.send(RemoveColumn(request=self.take_number(), column=column))
        if is_joining:
            self._go_on()

    def ask(self, ask: Ask) -> None:
        """Sends a question now, or as soon as everything it needs is loaded."""
        self._waiting.append(ask)
        self._go_on()

    def cancel(self, request: int) -> bool:
        """Ends answers being written; returns False if the question had not been sent yet."""
        waiting = len(self._waiting)
        self._waiting = [ask for ask in self._waiting if ask.request != request]
        if self._job is not None and len(self._waiting) == waiting:
            self._job.send(CancelAsk(request=request))
            return True
        return False

    def _join(self, column: str) -> None:
        number = self.take_number()
        self._joining[number] = column
        if self._is_base_ready:
            self.loading.emit(f"Loading {column}")
        if self._job is not None:
            folder = str(self._folders[column])
            self._job.send(AddColumn(request=number, column=column, adapter=folder))

    def _go_on(self) -> None:
        """Sends what waited, when nothing is being loaded any more."""
        if self._job is None or not self.is_ready:
            return
        waiting, self._waiting = self._waiting, []
        known = {"base", *self._folders}
        for ask in waiting:
            columns = tuple(column for column in ask.columns if column in known)
            if columns:
                self._job.send(ask.model_copy(update={"columns": columns}))
            else:
                self.request_failed.emit(ask.request, "The column is not there any more.")

    def _on_job_changed(self) -> None:
        if self._job is not None and not self._is_base_ready and not self._job.record.is_over:
            self.loading.emit(describe_phase(self._job.record))

    def _on_job_events_arrived(self, events: list[Event]) -> None:
        # Pieces of one answer that came together are shown together: one layout instead of many.
        for event in events:
            if isinstance(event, types.TokensGenerated):
                key = event.request, event.column
                self._pieces[key] = self._pieces.get(key, "") + event.text
            elif isinstance(event, types.AnswerFinished):
                key = event.request, event.column
                self._pieces.setdefault(key, "")
                self._finished[key] = event
            else:
                self._take(event)
        if self._pieces:
            self._teller.start(0)

    def _tell_some(self) -> None:
        """Tells of a few columns; the others follow in later turns of the event loop."""
        for key in list(self._pieces)[:_COLUMNS_AT_ONCE]:
            self._tell(key)
        if not self._pieces:
            self._teller.stop()

    def _tell(self, key: tuple[int, str]) -> None:
        text = self._pieces.pop(key, "")
        if text:
            self.text_added.emit(*key, text)
        finished = self._finished.pop(key, None)
        if finished is not None:
            self.answer_finished.emit(finished)

    def _tell_all(self) -> None:
        for key in list(self._pieces):
            self._tell(key)

    def _take(self, event: Event) -> None:
        if isinstance(event, types.ChatReady):
            self._is_base_ready = True
            self._settle()
        elif isinstance(event, types.ColumnsChanged):
            if self._joining.pop(event.request, None) is not None:
                self._settle()
        elif isinstance(event, types.AnswerStarted):
            self.answers_began.emit(event.request)
        elif isinstance(event, types.RequestFailed):
            self._tell_all()
            self._take_failure(event)
        elif isinstance(event, types.NoticeRaised) and event.severity == "warning":
            self.noticed.emit(StudioError(event.message, event.remedy, code=event.code))

    def _take_failure(self, event: types.RequestFailed) -> None:
        column = self._joining.pop(event.request, None)
        if column is None:
            self.request_failed.emit(event.request, f"{event.message} {event.remedy}".strip())
            return
        self._folders.pop(column, None)
        error = StudioError(event.message, event.remedy, code=event.code)
        self.column_refused.emit(column, error)
        self._settle()

    def _settle(self) -> None:
        if self.is_ready:
            self.ready.emit()
            self._go_on()
        elif self._is_base_ready:
            self.loading.emit(f"Loading {next(iter(self._joining.values()))}")

    def _on_job_ended(self, record: RunRecord) -> None:
        failure = record.failure
        error = StudioError("The models are not loaded any more.", "Load them again.")
        if failure is not None:
            error = StudioError(failure.message, failure.remedy, code=failure.code)
        self._on_job_launch_failed(error)

    def _on_job_launch_failed(self, error: StudioError) -> None:
        self._tell_all()
        self.close()
        self.failed.emit(error)
