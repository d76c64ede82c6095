"""The chat job behind the mixing desk: the base, and one column that is the mix."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.events import types
from studio.core.events.types import Event
from studio.core.jobs.orders import Ask, BlendSettings, CancelAsk, ChatOrder, SetBlend, Turn
from studio.core.runs.record import RunRecord
from studio.core.runs.words import describe_phase
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed

MIX, BASE = "mix", "base"
_LENGTH = 160


class LiveMix(QObject):
    """Answers one prompt at a time; a newer wish ends the one before.

    Signals:
        state_changed: Words about what is going on; empty when nothing is.
        answers_began: Answers to the newest prompt are on their way.
        text_added: Column and a piece of its answer.
        answer_finished: Column and its whole answer.
        failed: A ``StudioError``.
    """

    state_changed = Signal(str)
    answers_began = Signal()
    text_added = Signal(str, str)
    answer_finished = Signal(str, str)
    failed = Signal(object)

    def __init__(self, feed: RunFeed, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._feed = feed
        self._job: LiveJob | None = None
        self._base = ""
        self._blend: BlendSettings | None = None
        self._request = 0
        self._mixing = 0

    def ask(self, base: str, blend: BlendSettings, prompt: str) -> None:
        """Lets base and mix answer a prompt."""
        if self._job is None or self._job.is_over or base != self._base:
            self._load(base)
        job = self._job
        if job is None:
            return
        if self._request:
            job.send(CancelAsk(request=self._request))
        if blend != self._blend:
            self._request += 1
            self._mixing = self._request
            self._blend = blend
            job.send(SetBlend(request=self._mixing, column=MIX, blend=blend))
        self._request += 1
        turns = (Turn(role="user", content=prompt),)
        job.send(
            Ask(request=self._request, turns=turns, columns=(BASE, MIX), max_new_tokens=_LENGTH)
        )
        self.answers_began.emit()

    def close(self) -> None:
        """Unloads the models, so that they take no memory."""
        job, self._job = self._job, None
        self._blend = None
        if job is None:
            return
        job.changed.disconnect(self._on_job_changed)
        job.events_arrived.disconnect(self._on_job_events_arrived)
        job.ended.disconnect(self._on_job_ended)
        job.launch_failed.disconnect(self._on_job_launch_failed)
        if not job.is_over:
            job.stop()

    def _load(self, base: str) -> None:
        self.close()
        self._base = base
        job = self._feed.start_job(ChatOrder(base=base))
        self._job = job
        job.changed.connect(self._on_job_changed)
        job.events_arrived.connect(self._on_job_events_arrived)
        job.ended.connect(self._on_job_ended)
        job.launch_failed.connect(self._on_job_launch_failed)
        self.state_changed.emit("Starting …")

    def _on_job_changed(self) -> None:
        record = None if self._job is None else self._job.record
        if record is not None and not record.is_over and record.phase is not None:
            self.state_changed.emit(f"{describe_phase(record)} …")

    def _on_job_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, types.ChatReady | types.ColumnsChanged):
                self.state_changed.emit("Mixing …" if self._mixing else "")
            elif isinstance(event, types.RequestFailed):
                self._on_request_failed(event)
            elif isinstance(event, types.TokensGenerated) and event.request == self._request:
                self.text_added.emit(event.column, event.text)
            elif isinstance(event, types.AnswerFinished) and event.request == self._request:
                self.answer_finished.emit(event.column, event.text)
            if isinstance(event, types.ColumnsChanged) and event.request == self._mixing:
                self._mixing = 0
                self.state_changed.emit("")

    def _on_request_failed(self, event: types.RequestFailed) -> None:
        if event.request == self._mixing:
            self._mixing = 0
            self._blend = None
            self.failed.emit(StudioError(event.message, event.remedy, code=event.code))
            self.state_changed.emit("")
        elif event.request == self._request and event.code != "column_unknown":
            self.failed.emit(StudioError(event.message, event.remedy, code=event.code))

    def _on_job_ended(self, record: RunRecord) -> None:
        self._blend = None
        self.state_changed.emit("")
        if record.failure is not None:
            failure = record.failure
            self.failed.emit(StudioError(failure.message, failure.remedy, code=failure.code))

    def _on_job_launch_failed(self, error: StudioError) -> None:
        self._blend = None
        self.state_changed.emit("")
        self.failed.emit(error)
