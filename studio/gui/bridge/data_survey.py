"""The survey of the draft's data as the page sees it: one child that answers while it lives."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from studio.core.errors import JobDied, StudioError
from studio.core.events.survey import FileSide
from studio.core.events.types import (
    CopyProgressed,
    CopySaved,
    DataProblemFound,
    DataSurveyed,
    Event,
    LimitsMeasured,
    RequestFailed,
    RowOpened,
    RowShown,
    RowTried,
    SourceExamined,
    SurveyProgressed,
    TemplateTried,
)
from studio.core.jobs.orders import (
    AnyRequest,
    CancelCopy,
    LookAt,
    OpenRow,
    RowList,
    RowSide,
    SaveCopy,
    ShowRow,
    SurveyOrder,
    TryRow,
    TryTemplate,
)
from studio.core.runs.record import RunRecord
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed

LOOK_DELAY_MS = 350
_OF_CORRECTION = (RowOpened, RowTried, CopyProgressed, CopySaved)
_OF_LOOK = (SourceExamined, SurveyProgressed, DataProblemFound, LimitsMeasured, DataSurveyed)


class DataSurvey(QObject):
    """Keeps the survey's child alive from look to look; another base model needs another child.

    Signals:
        look_started: What was found before no longer holds.
        found: An event of the newest look.
        row_shown: What a row was asked for, and the newest ``RowShown`` for it.
        template_tried: The newest ``TemplateTried``.
        correction_told: The newest ``RowOpened``, ``RowTried``, ``CopyProgressed``, ``CopySaved``.
        correction_failed: A ``StudioError``: a row was not opened, or no copy was written.
        failed: A ``StudioError``; the next look starts a new child where the old one is gone.
    """

    look_started = Signal()
    found = Signal(object)
    row_shown = Signal(str, object)
    template_tried = Signal(object)
    correction_told = Signal(object)
    correction_failed = Signal(object)
    failed = Signal(object)

    def __init__(self, feed: RunFeed, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._feed = feed
        self._job: LiveJob | None = None
        self._order: SurveyOrder | None = None
        self._data: dict[str, Any] = {}
        self._last = 0
        self._look = 0
        self._rows: dict[str, int] = {}
        self._template = 0
        self._corrections: dict[type[Event], int] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(LOOK_DELAY_MS)
        self._timer.timeout.connect(self._send_look)

    @property
    def is_alive(self) -> bool:
        """True while a child is there to answer."""
        return self._job is not None and not self._job.is_over

    def look_at(self, order: SurveyOrder, data: Mapping[str, Any]) -> None:
        """Looks at data: the first time at once, then after a rest in which one may type on."""
        is_first = self._job is None and not self._timer.isActive()
        if self._order != order:
            self.stop()
        self._order = order
        self._data = copy.deepcopy(dict(data))
        if is_first:
            self._send_look()
        else:
            self._timer.start()

    def show_row(
        self,
        purpose: str,
        rank: int = 0,
        finding: str = "",
        by: RowList = "file",
        *,
        source: int = 0,
        row: int | None = None,
        side: RowSide = "any",
    ) -> None:
        """Asks for a row; per purpose only the newest question is answered."""
        request = self._rows[purpose] = self._next()
        self._send(
            ShowRow(
                request=request,
                rank=rank,
                finding=finding,
                by=by,
                source=source,
                row=row,
                side=side,
            )
        )

    def try_template(self, text: str, source: int = 0, row: int = 1) -> None:
        """Asks what a template makes of a row."""
        self._template = self._next()
        self._send(TryTemplate(request=self._template, text=text, source=source, row=row))

    def open_row(self, files: FileSide, source: int, index: int) -> None:
        """Asks for all fields of a row."""
        request = self._corrections[RowOpened] = self._next()
        self._send(OpenRow(request=request, files=files, source=source, index=index))

    def try_row(self, files: FileSide, source: int, index: int, values: str) -> None:
        """Asks what would become of a row with other fields, the text of a JSON object."""
        request = self._corrections[RowTried] = self._next()
        self._send(TryRow(request=request, files=files, source=source, index=index, values=values))

    def save_copy(
        self, files: FileSide, source: int, changes: Mapping[int, str], path: str
    ) -> None:
        """Lets a file be copied with other fields in some rows."""
        request = self._corrections[CopySaved] = self._next()
        self._corrections[CopyProgressed] = request
        self._send(
            SaveCopy(request=request, files=files, source=source, changes=dict(changes), path=path)
        )

    def cancel_copy(self) -> None:
        """Gives up the copy that is being written."""
        self._corrections.pop(CopySaved, None)
        self._corrections.pop(CopyProgressed, None)
        self._send(CancelCopy(request=self._next()))

    def stop(self) -> None:
        """Lets the child end; what it found is no longer told."""
        self._timer.stop()
        job, self._job = self._job, None
        if job is None:
            return
        job.events_arrived.disconnect(self._on_events_arrived)
        job.launch_failed.disconnect(self._on_launch_failed)
        job.ended.disconnect(self._on_job_ended)
        if not job.is_over:
            job.stop()

    def _next(self) -> int:
        self._last += 1
        return self._last

    def _send(self, request: AnyRequest) -> None:
        if self._job is not None and not self._job.is_over:
            self._job.send(request)

    def _send_look(self) -> None:
        if self._order is None:
            return
        if not self.is_alive:
            self.stop()
            job = self._feed.start_job(self._order)
            job.events_arrived.connect(self._on_events_arrived)
            job.launch_failed.connect(self._on_launch_failed)
            job.ended.connect(self._on_job_ended)
            self._job = job
        self._look = self._next()
        self.look_started.emit()
        self._send(LookAt(request=self._look, data=self._data))

    def _on_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, _OF_LOOK) and event.request == self._look:
                self.found.emit(event)
            elif isinstance(event, RowShown):
                self._tell_row(event)
            elif isinstance(event, TemplateTried) and event.request == self._template:
                self.template_tried.emit(event)
            elif isinstance(event, _OF_CORRECTION):
                if self._corrections.get(type(event)) == event.request:
                    self.correction_told.emit(event)
            elif isinstance(event, RequestFailed) and event.request in self._corrections.values():
                error = StudioError(event.message, event.remedy, code=event.code)
                self.correction_failed.emit(error)
            elif isinstance(event, RequestFailed) and event.request >= self._look:
                self.failed.emit(StudioError(event.message, event.remedy, code=event.code))

    def _tell_row(self, event: RowShown) -> None:
        for purpose, request in self._rows.items():
            if request == event.request:
                self.row_shown.emit(purpose, event)
                return

    def _on_launch_failed(self, error: StudioError) -> None:
        self.failed.emit(error)

    def _on_job_ended(self, record: RunRecord) -> None:
        failure = record.failure
        if failure is not None:
            self.failed.emit(StudioError(failure.message, failure.remedy, code=failure.code))
        elif record.status == "interrupted":
            self.failed.emit(JobDied("The survey ended without saying why.", "Please try again."))
