"""The worker thread of one job: starts or finds its process, reads facts, passes requests."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, QThread, Signal

from studio.core.errors import StudioError
from studio.core.events.types import Event
from studio.core.jobs.control import send
from studio.core.jobs.orders import AnyRequest
from studio.core.jobs.process import JobProcess
from studio.core.runs.journal import RunJournal
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import build_death_failure, status_of
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore
from studio.gui.bridge.curves import RunCurves
from studio.gui.bridge.run_log import load_log

BATCH_SECONDS = 0.1
"""The shortest time between two batches: the window repaints at most ten times a second."""


@dataclass(frozen=True)
class Launched:
    """A job that exists: its folder and its process, None if that has ended already."""

    layout: RunLayout
    process: JobProcess | None


class JobThread(QThread):
    """Owns one job from its start until it has ended; the job survives the thread.

    ``launch`` runs on the thread, makes or finds the job and may raise ``StudioError``.

    Signals:
        job_known: The job exists in this folder now.
        launch_failed: There is no job; a ``StudioError`` says why.
        events_arrived: New events in order, at most one list every ``BATCH_SECONDS``.
        curves_changed: ``RunCurves`` after those events.
        record_changed: ``RunRecord`` after those events.
        request_failed: A request could not be passed on; a ``StudioError``.
        job_ended: The last ``RunRecord``; a dead process without a word is ``interrupted``.
    """

    job_known = Signal(str)
    launch_failed = Signal(object)
    events_arrived = Signal(list)
    curves_changed = Signal(object)
    record_changed = Signal(object)
    request_failed = Signal(object)
    job_ended = Signal(object)

    def __init__(
        self, store: RunStore, launch: Callable[[], Launched], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._store = store
        self._launch = launch
        self._wishes: deque[AnyRequest | None] = deque()
        self._is_awake = threading.Event()
        self._is_closing = False

    def request(self, request: AnyRequest) -> None:
        """Passes a request to the job as soon as the thread is free."""
        self._wishes.append(request)
        self._is_awake.set()

    def kill(self) -> None:
        """Ends the job's process at once; what was not saved is lost."""
        self._wishes.append(None)
        self._is_awake.set()

    def request_close(self) -> None:
        """Asks the thread to end, without waiting; requests made before are still passed on."""
        self._is_closing = True
        self._is_awake.set()

    def close(self, timeout_seconds: float = 1.0) -> bool:
        """Ends the thread, not the job; returns True when the thread ended in time."""
        self.request_close()
        return self.wait(int(timeout_seconds * 1000))

    def run(self) -> None:
        """Does the thread's work; ``start`` calls it."""
        try:
            launched = self._launch()
            self.job_known.emit(str(launched.layout.folder))
            self._follow(launched)
        except StudioError as error:
            self.launch_failed.emit(error)

    def _follow(self, launched: Launched) -> None:
        journal = self._store.open_journal(launched.layout)
        self._catch_up(journal)
        try:
            while not self._is_closing:
                # Asked before reading: what the process wrote before it ended is read for sure.
                has_ended = launched.process is None or launched.process.poll() is not None
                started = time.monotonic()
                self._pass_requests(launched)
                has_more = self._read_batch(journal, started + BATCH_SECONDS)
                if has_ended and not has_more:
                    self._report_end(journal, launched)
                    return
                self._is_awake.wait(max(0.0, BATCH_SECONDS - (time.monotonic() - started)))
                self._is_awake.clear()
        finally:
            self._pass_requests(launched)
            journal.save_snapshot()
            if launched.process is not None:
                launched.process.release()

    def _catch_up(self, journal: RunJournal) -> None:
        """Reads what an earlier window has seen: quickly, without telling every step again."""
        for _ in journal.iter_all():
            if self._is_closing:
                return
        self._tell(journal, load_log(journal.layout, journal.offset))

    def _read_batch(self, journal: RunJournal, deadline: float) -> bool:
        """Emits what is new and returns whether more may be waiting."""
        batch: list[Event] = []
        before = journal.offset
        has_more = True
        while has_more and time.monotonic() < deadline and not self._is_closing:
            offset = journal.offset
            batch += journal.read()
            has_more = journal.offset != offset
        if journal.offset != before:
            self._tell(journal, batch)
        return has_more

    def _tell(self, journal: RunJournal, events: list[Event]) -> None:
        self.curves_changed.emit(RunCurves.take(journal.series))
        self.record_changed.emit(journal.record)
        if events:
            self.events_arrived.emit(events)

    def _pass_requests(self, launched: Launched) -> None:
        while self._wishes:
            wish = self._wishes.popleft()
            try:
                if wish is not None:
                    send(launched.layout, wish)
                elif launched.process is not None:
                    launched.process.kill()
            except StudioError as error:
                self.request_failed.emit(error)

    def _report_end(self, journal: RunJournal, launched: Launched) -> None:
        record = judge_end(journal.record, launched)
        self.record_changed.emit(record)
        self.job_ended.emit(record)


def judge_end(record: RunRecord, launched: Launched) -> RunRecord:
    """Returns the last record of a job without a process: interrupted if it said no last word."""
    code = None if launched.process is None else launched.process.poll()
    judged = status_of(record, launched.layout)
    if judged.is_over and judged.status != "interrupted":
        return judged
    failure = build_death_failure(record, code)
    return judged.model_copy(
        update={
            "status": "interrupted",
            "failure": failure,
            "phase": None,
            "process_id": None,
            "eta_seconds": None,
            "finished_seconds": record.updated_seconds,
        }
    )
