"""The rows of one run: their losses read beside the GUI thread, their text read by a child."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from studio.core.errors import StudioError
from studio.core.events.types import Event, RowRead
from studio.core.jobs.orders import ReadRows, ReadRowsOrder
from studio.core.microscope.report import ReportReader, RowReport, list_places
from studio.core.microscope.stories import LISTS, RowList, RowStory
from studio.core.runs.record import RunRecord
from studio.gui.bridge.background import Background, BackgroundCall, Cancellation
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed

MOST_SHOWN = 2000
"""Rows of a list that are shown; a file of all can be saved."""

_LEAST_WAIT_MS = 2000
_SHARE_OF_TIME = 20
"""Between two looks at a run at work passes so many times as long as one look takes."""


@dataclass(frozen=True)
class RowLists:
    """A report with the beginning of each of its lists."""

    report: RowReport = field(default_factory=RowReport)
    lists: dict[RowList, tuple[RowStory, ...]] = field(default_factory=dict)


class RowWatch(QObject):
    """Follows the rows of the run it is given for as long as somebody looks.

    Signals:
        lists_changed: The newest ``RowLists``.
        texts_changed: More rows can be found by ``find_text``.
        failed: A ``StudioError``.
    """

    lists_changed = Signal(object)
    texts_changed = Signal()
    failed = Signal(object)

    def __init__(
        self, feed: RunFeed, background: Background, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._feed = feed
        self._background = background
        self._folder = ""
        self._is_live = False
        self._reader: ReportReader | None = None
        self._call: BackgroundCall | None = None
        self._job: LiveJob | None = None
        self._texts: dict[int, RowRead] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._look)
        self.lists = RowLists()

    def follow(self, folder: str, *, is_live: bool) -> None:
        """Reads the rows of the run in a folder, again and again while it is at work."""
        self._is_live = is_live
        if folder != self._folder:
            self.stop()
            self._folder, self._reader = folder, ReportReader(Path(folder))
            self._texts.clear()
            self.lists = RowLists()
        if self._call is None:
            self._look()

    def stop(self) -> None:
        """Reads nothing more; what was read stays."""
        self._timer.stop()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        job, self._job = self._job, None
        if job is not None:
            job.events_arrived.disconnect(self._on_events_arrived)
            job.launch_failed.disconnect(self.failed)
            if not job.is_over:
                job.stop()

    def find_text(self, story: RowStory) -> RowRead | None:
        """Returns a row as it was read, None where it was not yet."""
        return self._texts.get(story.document)

    def ask_for_texts(self, stories: Sequence[RowStory]) -> None:
        """Reads the text of rows; those asked for before and not read yet are given up."""
        missing = [one for one in stories if one.document not in self._texts]
        places = list_places(self.lists.report, missing)
        if not places:
            return
        if self._job is None or self._job.is_over:
            self._job = self._feed.start_job(
                ReadRowsOrder(run=self._folder, rows=places, stays=True)
            )
            self._job.events_arrived.connect(self._on_events_arrived)
            self._job.launch_failed.connect(self.failed)
            self._job.ended.connect(self._on_job_ended)
            return
        self._job.send(ReadRows(rows=places))

    def _look(self) -> None:
        reader = self._reader
        if reader is not None:
            self._call = self._background.start(
                lambda cancellation: read_lists(reader, cancellation),
                self._on_lists_read,
                self._on_failed,
            )

    def _on_lists_read(self, found: tuple[RowLists, float]) -> None:
        self._call = None
        lists, seconds = found
        if lists.report is not self.lists.report:
            self.lists = lists
        self.lists_changed.emit(self.lists)
        if self._is_live:
            self._timer.start(max(_LEAST_WAIT_MS, int(1000 * _SHARE_OF_TIME * seconds)))

    def _on_failed(self, error: StudioError) -> None:
        self._call = None
        self.failed.emit(error)

    def _on_events_arrived(self, events: list[Event]) -> None:
        found = {event.document: event for event in events if isinstance(event, RowRead)}
        if found:
            self._texts |= found
            self.texts_changed.emit()

    def _on_job_ended(self, record: RunRecord) -> None:
        if record.failure is not None:
            self.failed.emit(StudioError(record.failure.message, record.failure.remedy))


def read_lists(reader: ReportReader, cancellation: Cancellation) -> tuple[RowLists, float]:
    """Returns the newest lists of a run, and the seconds that took."""
    start = time.perf_counter()
    report = reader.read(lambda: cancellation.is_set)
    lists = {name: tuple(report.pick(name, MOST_SHOWN)) for name in LISTS}
    return RowLists(report, lists), time.perf_counter() - start
