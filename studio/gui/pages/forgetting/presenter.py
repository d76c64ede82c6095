"""Which prompts must still work, the job that asks them, and the checks that are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.events.measures import ProbeAnswered
from studio.core.events.types import Event, NoticeRaised
from studio.core.forgetting.probes import (
    Probe,
    load_own_probes,
    load_probes,
    parse_lines,
    save_own_probes,
)
from studio.core.forgetting.report import ReportStore, build_report
from studio.core.jobs.orders import ForgettingOrder
from studio.core.paths import Home
from studio.gui.bridge.adapter_selection import AdapterSelection
from studio.gui.bridge.background import Background
from studio.gui.bridge.one_job import OneJob
from studio.gui.bridge.run_feed import RunFeed
from studio.gui.parts.kept_card import KeptEntry


class ForgettingPresenter(QObject):
    """Runs one check at a time; results and the user's own prompts are kept in the home.

    Signals:
        own_loaded: The user's own prompts, as a tuple of ``Probe``.
        progressed: Words, prompts done, prompts in total (0: nobody knows).
        finished: The ``ForgettingReport`` that was just made or opened again.
        listed: A ``KeptEntry`` of every kept check, newest first.
        noticed: A ``StudioError`` in words although the check goes on.
        stopped: The check ended because the user wished it.
        failed: A ``StudioError``.
    """

    own_loaded = Signal(object)
    progressed = Signal(str, int, int)
    finished = Signal(object)
    listed = Signal(list)
    noticed = Signal(object)
    stopped = Signal()
    failed = Signal(object)

    def __init__(
        self,
        feed: RunFeed,
        background: Background,
        home: Home,
        selection: AdapterSelection,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._background = background
        self._home = home
        self._selection = selection
        self._store = ReportStore(home)
        self._order: ForgettingOrder | None = None
        self._answered: list[ProbeAnswered] = []
        self.job = OneJob(feed, "The check", self)
        self.job.phase_changed.connect(self._on_job_phase_changed)
        self.job.events_arrived.connect(self._on_job_events_arrived)
        self.job.finished.connect(self._on_job_finished)
        self.job.stopped.connect(self.stopped)
        self.job.failed.connect(self.failed)

    @property
    def obstacle(self) -> str:
        """Why nothing can be checked yet, empty when it can."""
        return "" if self._selection.adapters else "Add the adapter to check first."

    def load_own(self) -> None:
        """Reads the user's own prompts."""
        self._background.start(
            lambda _: load_own_probes(self._home), self.own_loaded.emit, self.failed.emit
        )

    def load_list(self) -> None:
        """Reads which checks are kept."""
        self._start(self._list, self.listed.emit)

    def open(self, path: Path) -> None:
        """Opens a kept check."""
        self._start(lambda: self._store.load(path), self.finished.emit)

    def delete(self, path: Path) -> None:
        """Deletes a kept check."""

        def work() -> object:
            self._store.delete(path)
            return self._list()

        self._start(work, self.listed.emit)

    def start(self, own_text: str) -> None:
        """Keeps the user's own prompts and asks them and the built-in ones."""
        if self.job.is_busy or self.obstacle:
            return

        def prepare() -> tuple[Probe, ...]:
            own = parse_lines(own_text)
            save_own_probes(self._home, own)
            return (*own, *load_probes())

        self.progressed.emit("Starting", 0, 0)
        self._background.start(lambda _: prepare(), self._on_prepared, self.failed.emit)

    def _list(self) -> list[KeptEntry]:
        return [
            KeptEntry(path, one.name, "something broke", one.time_seconds, "error")
            if one.is_broken
            else KeptEntry(path, one.name, "nothing broke", one.time_seconds, "success")
            for path, one in self._store.list()
        ]

    def _start(self, work: Callable[[], object], on_result: Callable[[object], object]) -> None:
        self._background.start(lambda _: work(), on_result, self.failed.emit)

    def _on_prepared(self, probes: tuple[Probe, ...]) -> None:
        if self.job.is_busy or self.obstacle:
            return
        self._order = ForgettingOrder(
            base=self._selection.base,
            adapters=self._selection.folders,
            probes=probes,
            quantisation=self._selection.form,
        )
        self._answered = []
        self.job.start(self._order)

    def _on_job_phase_changed(self, words: str) -> None:
        if self._answered:
            last = self._answered[-1]
            self.progressed.emit("Asking", last.done_probes, last.total_probes)
        else:
            self.progressed.emit(words, 0, 0)

    def _on_job_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, ProbeAnswered):
                self._answered.append(event)
            elif isinstance(event, NoticeRaised) and event.severity == "warning":
                self.noticed.emit(StudioError(event.message, event.remedy, code=event.code))

    def _on_job_finished(self) -> None:
        if not self._answered or self._order is None:
            self.job.fail()
            return
        report = build_report(self._order, self._answered)
        self.finished.emit(report)

        def work() -> object:
            self._store.save(report)
            return self._list()

        self._start(work, self.listed.emit)
