"""The blend job that turns a mix into an adapter of the history."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.events.measures import BlendFinished, BlendProgressed
from studio.core.events.types import Event
from studio.core.jobs.orders import BlendOrder, BlendSettings
from studio.core.units import format_fraction, format_things
from studio.core.weights.header import read_header
from studio.core.weights.matching import count_layers
from studio.gui.bridge.one_job import OneJob
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
        self._home = home
        self._done: BlendFinished | None = None
        self.job = OneJob(feed, "The mix", self)
        self.job.phase_changed.connect(lambda words: self.progressed.emit(words, 0, 0))
        self.job.events_arrived.connect(self._on_job_events_arrived)
        self.job.finished.connect(self._on_job_finished)
        self.job.stopped.connect(self.stopped)
        self.job.failed.connect(self.failed)

    def save(self, blend: BlendSettings, name: str) -> None:
        """Writes the mix as a new adapter that is called ``name``."""
        if not self.job.is_busy:
            self._done = None
            self.job.start(BlendOrder(**blend.model_dump(), home=str(self._home), name=name))

    def _on_job_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, BlendProgressed):
                self.progressed.emit("Mixing layers", event.done_modules, event.total_modules)
            elif isinstance(event, BlendFinished):
                self._done = event

    def _on_job_finished(self) -> None:
        if self._done is None:
            self.job.fail()
        else:
            self.saved.emit(self._done)


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
    words = f"Rank {done.rank}, {format_things(done.modules, 'layer')}."
    if not done.error_fraction:
        return f"{words} Nothing was lost."
    lost = format_fraction(done.error_fraction)
    return f"{words} This rank could not hold {lost} of the mix; a higher rank keeps more."
