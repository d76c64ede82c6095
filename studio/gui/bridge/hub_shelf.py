"""The hub as the pages see it: searches and offers beside the GUI thread, downloads as jobs."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.events.types import DownloadFinished, DownloadProgressed, Event
from studio.core.hub.cache import iter_snapshots
from studio.core.hub.client import search
from studio.core.hub.first_rows import load_first_rows
from studio.core.hub.names import Repository, RepositoryKind
from studio.core.hub.offer import HubOffer, build_offer
from studio.core.hub.store import HubStore
from studio.core.jobs.orders import DownloadOrder
from studio.core.network.gate import Gate
from studio.core.runs.record import RunRecord
from studio.gui.bridge.background import Background, BackgroundCall
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed


@dataclass(frozen=True)
class Download:
    """One download that goes on; the sizes are 0 until the hub has told them."""

    repository: Repository
    done_bytes: int = 0
    total_bytes: int = 0
    bytes_per_second: float = 0.0
    is_stopping: bool = False

    @property
    def rest_seconds(self) -> float | None:
        """How long it still takes at the present speed; None while nobody can tell."""
        if self.bytes_per_second <= 0 or not self.total_bytes:
            return None
        return (self.total_bytes - self.done_bytes) / self.bytes_per_second


class HubShelf(QObject):
    """Asks the hub and fetches from it; nothing of that happens on the GUI thread.

    Signals:
        found: The kind that was searched and its ``HubEntry``, most used first.
        search_failed: The kind and a ``StudioError``.
        kept_listed: The kind and the ``Repository`` of all that lie on this machine already.
        offered: A ``HubOffer``.
        offer_failed: The ``Repository`` and a ``StudioError``.
        peeked: The ``Repository`` of a data set and its ``FirstRows``.
        peek_failed: The ``Repository`` and a ``StudioError``.
        changed: A download began, went on or ended.
        arrived: The ``Repository`` and the ``DownloadFinished`` of a complete download.
        failed: The ``Repository`` and a ``StudioError``; what arrived is kept.
        stopped: The ``Repository`` whose download the user stopped; what arrived is kept.
    """

    found = Signal(str, list)
    search_failed = Signal(str, object)
    kept_listed = Signal(str, list)
    offered = Signal(object)
    offer_failed = Signal(object, object)
    peeked = Signal(object, object)
    peek_failed = Signal(object, object)
    changed = Signal()
    arrived = Signal(object, object)
    failed = Signal(object, object)
    stopped = Signal(object)

    def __init__(self, gate: Gate, feed: RunFeed, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.gate = gate
        self._feed = feed
        # Its own threads: a hub that is slow to answer must not keep files waiting.
        self._background = Background(self, max_threads=3)
        self._search: BackgroundCall | None = None
        self._look: BackgroundCall | None = None
        self._peek: BackgroundCall | None = None
        self._jobs: dict[Repository, LiveJob] = {}
        self._downloads: dict[Repository, Download] = {}
        self._marks: dict[Repository, tuple[float, int]] = {}

    @property
    def downloads(self) -> list[Download]:
        """The downloads that go on, oldest first."""
        return list(self._downloads.values())

    def find_download(self, repository: Repository) -> Download | None:
        """Return the download of a repository while it goes on."""
        return self._downloads.get(repository)

    def search(self, kind: RepositoryKind, text: str) -> None:
        """Searches the hub; an earlier search is dropped."""
        if self._search is not None:
            self._search.cancel()
        self._search = self._background.start(
            lambda call: search(self.gate, kind, text, is_cancelled=lambda: call.is_set),
            partial(self.found.emit, kind),
            partial(self.search_failed.emit, kind),
        )

    def list_kept(self, kind: RepositoryKind) -> None:
        """Lists what lies on this machine already."""
        self._background.start(
            lambda _: [Repository(kind, name) for name, _folder in iter_snapshots(kind)],
            partial(self.kept_listed.emit, kind),
            partial(self.search_failed.emit, kind),
        )

    def look(self, repository: Repository) -> None:
        """Asks what a download would bring; an earlier question is dropped."""
        if self._look is not None:
            self._look.cancel()
        self._look = self._background.start(
            lambda call: build_offer(self.gate, repository, is_cancelled=lambda: call.is_set),
            self.offered.emit,
            partial(self.offer_failed.emit, repository),
        )

    def peek(self, repository: Repository) -> None:
        """Asks for the first rows of a data set; an earlier question is dropped."""
        if self._peek is not None:
            self._peek.cancel()
        self._peek = self._background.start(
            lambda call: load_first_rows(self.gate, repository, is_cancelled=lambda: call.is_set),
            partial(self.peeked.emit, repository),
            partial(self.peek_failed.emit, repository),
        )

    def download(self, offer: HubOffer) -> None:
        """Fetches what is missing of the offered version; goes on where an earlier one ended."""
        repository = offer.repository
        if repository in self._jobs:
            return
        order = DownloadOrder(repository=repository.kind, name=repository.name, revision=None)
        job = self._feed.start_job(order)
        self._jobs[repository] = job
        here = offer.total_bytes - offer.missing_bytes
        self._downloads[repository] = Download(repository, here, offer.total_bytes)
        job.events_arrived.connect(partial(self._on_job_events_arrived, repository))
        job.ended.connect(partial(self._on_job_ended, repository))
        job.launch_failed.connect(partial(self._on_job_failed, repository))
        self.changed.emit()

    def stop(self, repository: Repository) -> None:
        """Ends a download; what arrived is kept, and the next one goes on from there."""
        job = self._jobs.get(repository)
        if job is not None:
            job.stop()
            self._downloads[repository] = replace(self._downloads[repository], is_stopping=True)
            self.changed.emit()

    def discard(self, repository: Repository) -> None:
        """Deletes what arrived of an unfinished download."""
        self._background.start(
            lambda _: HubStore(repository).discard_parts(),
            lambda _: self.look(repository),
            partial(self.failed.emit, repository),
        )

    def close(self) -> bool:
        """Drops all questions; returns True when all threads ended in time."""
        return self._background.close()

    def _on_job_events_arrived(self, repository: Repository, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, DownloadFinished):
                self.arrived.emit(repository, event)
        told = [event for event in events if isinstance(event, DownloadProgressed)]
        if told and repository in self._downloads:
            self._note_progress(repository, told[-1])

    def _note_progress(self, repository: Repository, event: DownloadProgressed) -> None:
        now = time.monotonic()
        start, before = self._marks.setdefault(repository, (now, event.done_bytes))
        seconds, arrived = now - start, event.done_bytes - before
        self._downloads[repository] = replace(
            self._downloads[repository],
            done_bytes=event.done_bytes,
            total_bytes=event.total_bytes,
            bytes_per_second=arrived / seconds if seconds > 0.5 and arrived > 0 else 0.0,
        )
        self.changed.emit()

    def _on_job_ended(self, repository: Repository, record: RunRecord) -> None:
        self._forget(repository)
        if record.status == "stopped":
            self.stopped.emit(repository)
        elif record.status != "finished":
            failure = record.failure
            error = StudioError("The download ended without a result.", "Try again.")
            if failure is not None:
                error = StudioError(failure.message, failure.remedy, code=failure.code)
            self.failed.emit(repository, error)

    def _on_job_failed(self, repository: Repository, error: StudioError) -> None:
        self._forget(repository)
        self.failed.emit(repository, error)

    def _forget(self, repository: Repository) -> None:
        for kept in (self._jobs, self._downloads, self._marks):
            kept.pop(repository, None)
        self.changed.emit()
