"""The blend job that turns a mix into an adapter of the history."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.events.measures import BlendFinished, BlendProgressed
from studio.core.events.types import Event
from studio.core.jobs.orders import BlendOrder, BlendSettings
from studio.core.runs.record import RunRecord
from studio.core.units import format_fraction
from studio.core.weights.header import read_header
from studio.core.weights.matching import count_layers
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed


class MixSaver(QObject):
    """Saves one mix at a time.

    Signals:
        progressed: Words, layers done, layers in total.
        saved: The ``BlendFinished`` of the new adapter.
        stopped: The user ended it; nothing was written.
        failed: A ``StudioError``.
    """

    progressed = Signal(str, int, int)
    saved = Signal(object)
    stopped = Signal()
    failed = Signal(object)

    def __init__(self, feed: RunFeed, home: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._feed = feed
        self._home = home
        self._job: LiveJob | None = None
        self._done: BlendFinished | None = None

    @property
    def is_busy(self) -> bool:
        """True while a mix is saved."""
        return self._job is not None

    def save(self, blend: BlendSettings, name: str) -> None:
        """Writes the mix as a new adapter that is called ``name``."""
        if self.is_busy:
            return
        self._done = None
        order = BlendOrder(**blend.model_dump(), home=str(self._home), name=name)
        job = self._feed.start_job(order)
        self._job = job
        job.events_arrived.connect(self._on_job_events_arrived)
        job.ended.connect(self._on_job_ended)
        job.launch_failed.connect(self._on_job_launch_failed)
        self.progressed.emit("Starting", 0, 0)

    def stop(self) -> None:
        """Asks the job to end."""
        if self._job is not None:
            self._job.stop()

    def _on_job_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, BlendProgressed):
                self.progressed.emit("Mixing layers", event.done_modules, event.total_modules)
            elif isinstance(event, BlendFinished):
                self._done = event

    def _on_job_ended(self, record: RunRecord) -> None:
        self._job = None
        if record.status == "finished" and self._done is not None:
            self.saved.emit(self._done)
        elif record.status == "stopped":
            self.stopped.emit()
        else:
            failure = record.failure
            error = StudioError("The mix was not saved.", "Try again.")
            if failure is not None:
                error = StudioError(failure.message, failure.remedy, code=failure.code)
            self.failed.emit(error)

    def _on_job_launch_failed(self, error: StudioError) -> None:
        self._job = None
        self.failed.emit(error)


def count_adapter_layers(folder: Path) -> int:
    """Returns how many numbered layers an adapter's file knows, from its header alone.

    Raises:
        ModelUnusable: The file is damaged.
        FileUnusable: The file is missing or cannot be read.
    """
    header = read_header(folder / "adapter_model.safetensors")
    return count_layers(tensor.name for tensor in header.tensors)


def describe_saved(done: BlendFinished) -> str:
    """Returns rank and size of a new adapter, and how much of the mix its rank could not hold."""
    words = f"Rank {done.rank}, {done.modules} layers."
    if not done.error_fraction:
        return f"{words} Nothing was lost."
    lost = format_fraction(done.error_fraction)
    return f"{words} This rank could not hold {lost} of the mix; a higher rank keeps more."
