"""Gives exports to other programs and to the hub: what is there, the jobs, what came of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.events.types import (
    Event,
    ExportProgressed,
    HandedOver,
    NoticeRaised,
    PhaseEntered,
    PushFinished,
)
from studio.core.hub.token import find_token
from studio.core.jobs.orders import HandOverOrder, PushOrder
from studio.core.network.gate import Gate
from studio.core.programs.lm_studio import FOLDER_SETTING, find_models_folder
from studio.core.programs.ollama import ADDRESS_SETTING, OllamaServer, find_address
from studio.core.runs.record import RunRecord
from studio.gui.bridge.background import Background
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.preferences import Preferences
from studio.gui.bridge.run_feed import RunFeed


@dataclass(frozen=True)
class Surroundings:
    """The other programs on this machine, and whether the hub knows the user.

    ``ollama`` is its version and address in words, empty where no server answers; ``problem`` then
    says why. ``models`` is LM Studio's folder, None without one.
    """

    ollama: str = ""
    problem: str = ""
    models: Path | None = None
    has_token: bool = False


class Giver(QObject):
    """One job at a time.

    Signals:
        looked: The ``Surroundings``.
        progressed: Words, bytes done, bytes in total (0: nobody knows).
        handed_over: A ``HandedOver`` and, where the model gave no answer, a ``NoticeRaised``.
        pushed: A ``PushFinished``.
        stopped: The user ended it.
        failed: A ``StudioError``; the export itself is unharmed.
    """

    looked = Signal(object)
    progressed = Signal(str, object, object)
    handed_over = Signal(object, object)
    pushed = Signal(object)
    stopped = Signal()
    failed = Signal(object)

    def __init__(
        self,
        feed: RunFeed,
        background: Background,
        gate: Gate,
        preferences: Preferences,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._feed, self._background = feed, background
        self._gate, self._preferences = gate, preferences
        self._job: LiveJob | None = None
        self._done: HandedOver | PushFinished | None = None
        self._notice: NoticeRaised | None = None
        self._words, self._bytes = "", (0, 0)

    @property
    def is_busy(self) -> bool:
        """True while something is handed over."""
        return self._job is not None

    @property
    def gate(self) -> Gate:
        """Says whether the hub may be asked."""
        return self._gate

    def look(self) -> None:
        """Finds out which programs are there."""
        address = self._preferences.get_text(ADDRESS_SETTING)
        folder = self._preferences.get_text(FOLDER_SETTING)
        self._background.start(lambda _: look_around(self._gate, address, folder), self.looked.emit)

    def start(self, order: HandOverOrder | PushOrder) -> None:
        """Hands an export over, or uploads it."""
        if self.is_busy:
            return
        self._done, self._notice = None, None
        self._words, self._bytes = "Starting", (0, 0)
        job = self._feed.start_job(order)
        self._job = job
        job.events_arrived.connect(self._on_job_events_arrived)
        job.ended.connect(self._on_job_ended)
        job.launch_failed.connect(self._on_job_launch_failed)
        self.progressed.emit(self._words, *self._bytes)

    def stop(self) -> None:
        """Asks the job to end."""
        if self._job is not None:
            self._job.stop()

    def _on_job_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, PhaseEntered) and event.detail:
                self._words, self._bytes = event.detail, (0, 0)
            elif isinstance(event, ExportProgressed):
                self._bytes = (event.done_bytes, event.total_bytes)
            elif isinstance(event, NoticeRaised):
                self._notice = event
            elif isinstance(event, HandedOver | PushFinished):
                self._done = event
        self.progressed.emit(self._words, *self._bytes)

    def _on_job_ended(self, record: RunRecord) -> None:
        self._job = None
        if isinstance(self._done, HandedOver):
            self.handed_over.emit(self._done, self._notice)
        elif self._done is not None:
            self.pushed.emit(self._done)
        elif record.status == "stopped":
            self.stopped.emit()
        else:
            failure = record.failure
            error = StudioError("It ended without a result.", "Try again.")
            if failure is not None:
                error = StudioError(failure.message, failure.remedy, code=failure.code)
            self.failed.emit(error)

    def _on_job_launch_failed(self, error: StudioError) -> None:
        self._job = None
        self.failed.emit(error)


def look_around(gate: Gate, address: str, folder: str) -> Surroundings:
    """Returns which programs are there; takes a few seconds where a server is silent."""
    found, problem = "", ""
    try:
        server = OllamaServer(gate, find_address(address))
        found = f"Ollama {server.get_version()} answers at {server.address}."
    except StudioError as error:
        problem = f"{error.message} {error.remedy}"
    models = find_models_folder(folder)
    return Surroundings(found, problem, models, find_token() is not None)
