"""Which models are compared, the chat job that holds them, and the answers it states."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from studio.core.errors import AdapterUnusable, StudioError
from studio.core.events import types
from studio.core.events.types import Event
from studio.core.jobs.orders import Ask, CancelAsk, ChatOrder, Turn
from studio.core.runs.record import RunRecord
from studio.core.runs.words import describe_phase
from studio.gui.bridge.adapter_choice import AdapterChoice, check_base
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed
from studio.gui.pages.compare.options import AskOptions

_SETTLE_MS = 250
BASE = "base"


class ComparePresenter(QObject):
    """Keeps one chat job for the chosen models and starts another when the choice changes.

    Signals:
        selection_changed: Another base or other adapters are compared.
        loading: The models are being loaded; words for people.
        ready: The models can answer.
        job_failed: The chat ended with a ``StudioError``; ``retry`` starts it again.
        refused: A choice cannot be compared; a ``StudioError``.
        asked: Request number, prompt and columns of a new question.
        answers_began: The answers to this request are being written.
        text_added: Request, column and a piece of its answer.
        answer_finished: The ``AnswerFinished`` fact of one answer.
        request_failed: Request number and why there are no answers.
        busy_changed: True while answers are outstanding.
    """

    selection_changed = Signal()
    loading = Signal(str)
    ready = Signal()
    job_failed = Signal(object)
    refused = Signal(object)
    asked = Signal(int, str, list)
    answers_began = Signal(int)
    text_added = Signal(int, str, str)
    answer_finished = Signal(object)
    request_failed = Signal(int, str)
    busy_changed = Signal(bool)

    def __init__(self, feed: RunFeed, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._feed = feed
        self._job: LiveJob | None = None
        self._is_ready = False
        self._request = 0
        self._open: set[str] = set()
        self.base = ""
        self.adapters: dict[str, AdapterChoice] = {}
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._load)

    @property
    def is_busy(self) -> bool:
        """True while answers are outstanding."""
        return bool(self._open)

    @property
    def has_selection(self) -> bool:
        """True when there is a base to ask."""
        return bool(self.base)

    def choose_base(self, base: str) -> None:
        """Compares with another base; adapters of other models leave."""
        self.base = base
        kept = {}
        for name, choice in self.adapters.items():
            try:
                check_base(choice, base)
                kept[name] = choice
            except AdapterUnusable as error:
                self.refused.emit(error)
        self.adapters = kept
        self._note_change()

    def add(self, choice: AdapterChoice) -> None:
        """Adds an adapter; the first one brings its base along."""
        if any(choice.folder == other.folder for other in self.adapters.values()):
            return
        try:
            if not self.base and not choice.base:
                raise AdapterUnusable(
                    f"The adapter {choice.name} does not say which base model it belongs to.",
                    "Choose the base first, then add the adapter.",
                )
            check_base(choice, self.base)
        except AdapterUnusable as error:
            self.refused.emit(error)
            return
        self.base = self.base or choice.base
        self.adapters[self._find_free_name(choice.name)] = choice
        self._note_change()

    def remove(self, name: str) -> None:
        """Takes an adapter out."""
        if self.adapters.pop(name, None) is not None:
            self._note_change()

    def ask(self, prompt: str, options: AskOptions) -> None:
        """Asks base and adapters; before they are loaded the question waits."""
        if self.is_busy or not self.has_selection:
            return
        if self._job is None or self._job.is_over or self._settle.isActive():
            self._settle.stop()
            self._load()
        self._request += 1
        columns = [BASE, *self.adapters]
        self._open = set(columns)
        self.asked.emit(self._request, prompt, columns)
        self.busy_changed.emit(True)
        if self._job is not None:
            self._job.send(
                Ask(
                    request=self._request,
                    turns=(Turn(role="user", content=prompt),),
                    is_raw=options.is_raw,
                    max_new_tokens=options.max_new_tokens,
                    temperature=options.temperature,
                    top_p=options.top_p,
                    seed=options.seed,
                )
            )

    def cancel(self) -> None:
        """Ends the answers being written; what is there stays."""
        if self._job is not None and self._is_ready:
            self._job.send(CancelAsk(request=self._request))
        elif self.is_busy:
            self._fail_open("Stopped before the models were loaded.")
            self._leave()

    def retry(self) -> None:
        """Loads the models again."""
        self._load()

    def _find_free_name(self, name: str) -> str:
        candidate, number = name, 2
        while candidate in self.adapters or candidate == BASE:
            candidate, number = f"{name} ({number})", number + 1
        return candidate

    def _note_change(self) -> None:
        self._fail_open("The models were changed before the answer was complete.")
        self._leave()
        self.selection_changed.emit()
        if self.has_selection:
            self._settle.start()

    def _load(self) -> None:
        self._leave()
        if not self.has_selection:
            return
        folders = {name: str(choice.folder) for name, choice in self.adapters.items()}
        job = self._feed.start_job(ChatOrder(base=self.base, adapters=folders))
        self._job = job
        job.changed.connect(self._on_job_changed)
        job.events_arrived.connect(self._on_job_events_arrived)
        job.ended.connect(self._on_job_ended)
        job.launch_failed.connect(self._on_job_launch_failed)
        self.loading.emit("Starting")

    def _leave(self) -> None:
        job, self._job = self._job, None
        self._is_ready = False
        if job is None:
            return
        job.changed.disconnect(self._on_job_changed)
        job.events_arrived.disconnect(self._on_job_events_arrived)
        job.ended.disconnect(self._on_job_ended)
        job.launch_failed.disconnect(self._on_job_launch_failed)
        if not job.is_over:
            job.stop()

    def _on_job_changed(self) -> None:
        if self._job is not None and not self._is_ready and not self._job.record.is_over:
            self.loading.emit(describe_phase(self._job.record))

    def _on_job_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, types.TokensGenerated):
                self.text_added.emit(event.request, event.column, event.text)
            elif isinstance(event, types.ChatReady):
                self._is_ready = True
                self.ready.emit()
            elif isinstance(event, types.AnswerStarted):
                self.answers_began.emit(event.request)
            elif isinstance(event, types.AnswerFinished):
                self.answer_finished.emit(event)
                self._close_column(event.request, event.column)
            elif isinstance(event, types.RequestFailed):
                self.request_failed.emit(event.request, f"{event.message} {event.remedy}".strip())
                self._close_all(event.request)

    def _on_job_ended(self, record: RunRecord) -> None:
        self._is_ready = False
        if record.status == "stopped":
            self._fail_open("The models were unloaded.")
            return
        failure = record.failure
        error = StudioError("The models are not loaded any more.", "Load them again.")
        if failure is not None:
            error = StudioError(failure.message, failure.remedy, code=failure.code)
        self._on_job_launch_failed(error)

    def _on_job_launch_failed(self, error: StudioError) -> None:
        self._fail_open(error.message)
        self.job_failed.emit(error)

    def _close_column(self, request: int, column: str) -> None:
        if request == self._request:
            self._open.discard(column)
            if not self._open:
                self.busy_changed.emit(False)

    def _close_all(self, request: int) -> None:
        if request == self._request and self._open:
            self._open.clear()
            self.busy_changed.emit(False)

    def _fail_open(self, words: str) -> None:
        if self._open:
            self.request_failed.emit(self._request, words)
            self._close_all(self._request)
