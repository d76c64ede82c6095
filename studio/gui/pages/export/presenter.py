"""What is exported, as what, to where; the export job and the list of earlier ones."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.events.types import (
    Event,
    ExportChecked,
    ExportFinished,
    ExportProgressed,
    NoticeRaised,
)
from studio.core.jobs.orders import ExportOrder, ExportTarget, QuantKind
from studio.core.jobs.remedies import REMEDIES, apply_remedy
from studio.core.paths import slug
from studio.core.runs.exporting import read_export_details
from studio.core.runs.record import RunRecord
from studio.core.runs.words import describe_phase
from studio.gui.bridge.adapter_choice import AdapterChoice
from studio.gui.bridge.background import Background, BackgroundCall
from studio.gui.bridge.export_history import ExportHistory, ExportRecord
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed
from studio.gui.pages.export.options import Options, recall_options
from studio.gui.pages.export.tools import TOOLS, Tool, find_tool, get_tool

_TARGETS = get_args(ExportTarget)
# Bytes of a GGUF file beside those of a base in 16 bits, rounded up.
_SHARES: dict[str, float] = {"f32": 2.0, "f16": 1.0, "bf16": 1.0, "q8_0": 0.55, "q6_k": 0.45}
_SMALL_SHARE = 0.4


@dataclass(frozen=True)
class Place:
    """A folder that does not exist yet, the free space of its drive and the space needed.

    ``details`` are what the adapter's run adds to the order.
    """

    target: Path
    free_bytes: int | None
    needed_bytes: int | None
    details: Mapping[str, object] = field(default_factory=dict)


class ExportPresenter(QObject):
    """Holds the choices and runs one export at a time.

    ``remedies`` are names of what makes the adapter smaller; ``rank`` is its own, 0 if unknown.
    ``checked`` is what the check of the adapter found, None before.

    Signals:
        changed: Adapter, format or folder is another one.
        place_found: The ``Place`` to write to.
        progressed: Words, bytes done, bytes in total (0: nobody knows).
        finished: The ``ExportRecord`` of an export that was written.
        stopped: The export ended because the user wished it; nothing is left behind.
        failed: A ``StudioError``; nothing is left behind.
        history_loaded: All kept ``ExportRecord``, newest first.
    """

    changed = Signal()
    place_found = Signal(object)
    progressed = Signal(str, object, object)
    finished = Signal(object)
    stopped = Signal()
    failed = Signal(object)
    history_loaded = Signal(list)

    def __init__(
        self,
        feed: RunFeed,
        background: Background,
        history: ExportHistory,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._feed = feed
        self._background = background
        self._history = history
        self._job: LiveJob | None = None
        self._order: ExportOrder | None = None
        self._done: ExportFinished | None = None
        self._measuring: BackgroundCall | None = None
        self._bytes: tuple[int, int] = (0, 0)
        self.choice: AdapterChoice | None = None
        self.tool: Tool = TOOLS[0]
        self.target: ExportTarget = "adapter"
        self.remedies: tuple[str, ...] = ()
        self.rank = 0
        self.checked: ExportChecked | None = None
        self.options = Options()
        self._records: list[ExportRecord] = []
        self.parent_folder: Path | None = None
        self.place: Place | None = None

    @property
    def is_busy(self) -> bool:
        """True while an export is written."""
        return self._job is not None

    @property
    def reason(self) -> str:
        """Why nothing can be exported yet; empty when it can."""
        if self.choice is None:
            return "Choose an adapter first."
        if self.place is None:
            return "Choose a folder first." if self.parent_folder is None else "Looking for space…"
        free, needed = self.place.free_bytes, self.place.needed_bytes
        if free is not None and needed is not None and free < needed:
            return "There is not enough space on this drive. Choose a folder on another one."
        return ""

    def choose(self, choice: AdapterChoice | None) -> None:
        """Exports another adapter; None while there is none."""
        self.choice = choice
        self.remedies, self.rank, self.checked = (), 0, None
        recalled = recall_options(self._records, choice.folder if choice else None)
        self.options = replace(recalled, quant=self.options.quant)
        self._note_change()

    def choose_tool(self, key: str) -> None:
        """Exports for another tool, in the kind of files that suits it best."""
        self.tool = get_tool(key)
        self.target = self.tool.forms[0].target
        self.remedies = ()
        self._note_change()

    def choose_target(self, target: str) -> None:
        """Exports as one of the kinds of ``ExportTarget``, for this tool or one that takes it."""
        self.target = next((known for known in _TARGETS if known == target), "adapter")
        if all(form.target != self.target for form in self.tool.forms):
            self.tool = find_tool(self.target)
        self.remedies = ()
        self._note_change()

    def apply(self, remedy: str) -> None:
        """Does what a remedy says: another kind of files, or a smaller adapter."""
        target, onto = REMEDIES[remedy].target, REMEDIES[remedy].onto
        if target is not None:
            self.choose_target(target)
        if onto is not None:
            self.choose_option("onto", onto)
        if target is None and onto is None and remedy not in self.remedies:
            self.remedies = (*self.remedies, remedy)
            self._note_change()

    def take_back(self, remedy: str) -> None:
        """Exports without a remedy that was chosen."""
        self.remedies = tuple(name for name in self.remedies if name != remedy)
        self._note_change()

    def choose_option(self, name: str, value: str) -> None:
        """Writes the files otherwise; ``name`` is a field of ``Options``."""
        self.options = self.options.change(name, value)
        self._note_change()

    def choose_folder(self, folder: Path) -> None:
        """Exports into a new folder inside this one."""
        self.parent_folder = folder
        self._note_change()

    def load_history(self) -> None:
        """Reads the list of earlier exports."""
        self._background.start(lambda _: self._history.load(), self._on_history_loaded)

    def start(self) -> None:
        """Starts to write the files."""
        if self.is_busy or self.reason or self.choice is None or self.place is None:
            return
        options = self.options.fit(self.target, self.checked)
        order = ExportOrder.model_validate(
            {
                **self.place.details,
                "adapter": str(self.choice.folder),
                "base": self.choice.base or None,
                "target": self.target,
                "quant": options.quant,
                "onto": options.onto,
                "experts": options.experts,
                "out": str(self.place.target),
                "name": slug(self.choice.name),
            }
        )
        for remedy in self.remedies:
            order = apply_remedy(order, remedy)
        self._order = order
        self._done = None
        self._bytes = (0, 0)
        job = self._feed.start_job(self._order)
        self._job = job
        self.changed.emit()
        job.changed.connect(self._on_job_changed)
        job.events_arrived.connect(self._on_job_events_arrived)
        job.ended.connect(self._on_job_ended)
        job.launch_failed.connect(self._on_job_failed)
        self.progressed.emit("Starting", 0, 0)

    def stop(self) -> None:
        """Asks the export to end."""
        if self._job is not None:
            self._job.stop()

    def _note_change(self) -> None:
        self.place = None
        self.changed.emit()
        if self._measuring is not None:
            self._measuring.cancel()
        choice, folder = self.choice, self.parent_folder
        target, quant = self.target, self.options.quant
        if choice is None or folder is None:
            return
        self._measuring = self._background.start(
            lambda _: find_place(choice, folder, target, quant),
            self._on_place_found,
            self.failed.emit,
        )

    def _on_place_found(self, place: Place) -> None:
        self.place = place
        self.place_found.emit(place)

    def _on_job_changed(self) -> None:
        if self._job is not None and not self._job.record.is_over:
            self.progressed.emit(describe_phase(self._job.record), *self._bytes)

    def _on_job_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, ExportProgressed):
                self._bytes = (event.done_bytes, event.total_bytes)
            elif isinstance(event, ExportFinished):
                self._done = event
            elif isinstance(event, NoticeRaised) and event.severity == "warning":
                self.failed.emit(StudioError(event.message, event.remedy, code=event.code))
        self._on_job_changed()

    def _on_job_ended(self, record: RunRecord) -> None:
        self._job = None
        if record.status == "finished" and self._done is not None:
            self._note_success(self._done)
        elif record.status == "stopped":
            self.stopped.emit()
        else:
            failure = record.failure
            error = StudioError("The export ended without a result.", "Try again.")
            if failure is not None:
                error = StudioError(failure.message, failure.remedy, code=failure.code)
            self.failed.emit(error)
        self._note_change()

    def _on_job_failed(self, error: StudioError) -> None:
        self._job = None
        self.failed.emit(error)

    def _note_success(self, done: ExportFinished) -> None:
        if self._order is None or self.choice is None:
            return
        record = ExportRecord(
            name=self.choice.name,
            target=self._order.target,
            base=self._order.base or "",
            folder=done.folder,
            files=done.files,
            is_verified=done.is_verified,
            largest_difference=done.largest_difference,
            reasons=done.reasons,
            prompts=done.prompts,
            tool=self.tool.key,
            rank=min(self.rank, self._order.rank or self.rank),
            changes=tuple(REMEDIES[name].words for name in self.remedies),
            adapter=str(self.choice.folder),
            onto=self._order.onto,
            experts=self._order.experts,
            time_seconds=time.time(),
        )
        self.finished.emit(record)
        self._background.start(
            lambda _: self._history.add(record), self._on_history_loaded, self.failed.emit
        )

    def _on_history_loaded(self, records: list[ExportRecord]) -> None:
        self._records = records
        self.history_loaded.emit(records)


def find_place(
    choice: AdapterChoice, folder: Path, target: ExportTarget, quant: QuantKind = "q8_0"
) -> Place:
    """Returns a folder name that is free, with the space there is and the space needed."""
    is_gguf = target in ("gguf", "ollama")
    stem = f"{slug(choice.name)}-{target}{f'-{quant}' if is_gguf else ''}"
    path, number = folder / stem, 2
    while path.exists():
        path, number = folder / f"{stem}-{number}", number + 1
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    free_bytes = shutil.disk_usage(existing).free if existing.exists() else None
    needed_bytes = _measure_weights(
        choice.folder if target in ("adapter", "gguf_lora", "capsule") else Path(choice.base)
    )
    if is_gguf and needed_bytes is not None:
        needed_bytes = int(needed_bytes * _SHARES.get(quant, _SMALL_SHARE))
    return Place(path, free_bytes, needed_bytes, read_export_details(choice.folder))


def _measure_weights(folder: Path) -> int | None:
    if not folder.is_dir():
        return None
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
