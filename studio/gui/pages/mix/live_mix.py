"""The chat job behind the mixing desk: base, the mix, and adapters alone beside them."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.events import types
from studio.core.events.types import Event
from studio.core.jobs.orders import (
    AddColumn,
    Ask,
    BlendSettings,
    CancelAsk,
    ChatOrder,
    RemoveColumn,
    SetBlend,
    Turn,
)
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
        measured: The ``BlendMeasured`` of the newest mix.
        failed: A ``StudioError``.
    """

    state_changed = Signal(str)
    answers_began = Signal()
    text_added = Signal(str, str)
    answer_finished = Signal(str, str)
    measured = Signal(object)
    failed = Signal(object)

    def __init__(self, feed: RunFeed, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._feed = feed
        self._job: LiveJob | None = None
        self._base = ""
        self._blend: BlendSettings | None = None
        self._request = 0
        self._mixing = 0
        self._alone: dict[str, str] = {}

    def ask(
        self, base: str, blend: BlendSettings, prompt: str, alone: Mapping[str, str] | None = None
    ) -> None:
        """Lets base and mix answer a prompt, and the adapters ``alone``, folders by column."""
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
        self._show_alone(job, alone or {})
        self._request += 1
        turns = (Turn(role="user", content=prompt),)
        columns = (BASE, MIX, *self._alone)
        job.send(Ask(request=self._request, turns=turns, columns=columns, max_new_tokens=_LENGTH))
        self.answers_began.emit()

    def _show_alone(self, job: LiveJob, wanted: Mapping[str, str]) -> None:
        """Loads the adapters that are wanted beside the mix and unloads the others."""
        for column in [one for one, folder in self._alone.items() if wanted.get(one) != folder]:
            del self._alone[column]
            self._request += 1
            job.send(RemoveColumn(request=self._request, column=column))
        for column, folder in wanted.items():
            if column not in self._alone:
                self._alone[column] = folder
                self._request += 1
                job.send(AddColumn(request=self._request, column=column, adapter=folder))

    def close(self) -> None:
        """Unloads the models, so that they take no memory."""
        job, self._job = self._job, None
        self._blend, self._alone = None, {}
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
            elif isinstance(event, types.BlendMeasured) and event.request == self._mixing:
                self.measured.emit(event)
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
        elif event.code not in ("column_unknown", "superseded", "stopped"):
            self.failed.emit(StudioError(event.message, event.remedy, code=event.code))

    def _on_job_ended(self, record: RunRecord) -> None:
        self._blend, self._alone = None, {}
        self.state_changed.emit("")
        if record.failure is not None:
            failure = record.failure
            self.failed.emit(StudioError(failure.message, failure.remedy, code=failure.code))

    def _on_job_launch_failed(self, error: StudioError) -> None:
        self._blend, self._alone = None, {}
        self.state_changed.emit("")
        self.failed.emit(error)
