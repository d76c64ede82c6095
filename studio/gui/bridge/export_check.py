"""What other tools would refuse of an adapter, found out by a job and remembered."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.events.types import Event, ExportChecked
from studio.core.jobs.orders import CheckExportOrder
from studio.core.runs.exporting import read_export_details
from studio.core.runs.record import RunRecord
from studio.gui.bridge.adapter_choice import AdapterChoice
from studio.gui.bridge.background import Background
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed

_FILES = ("adapter_config.json", "adapter_model.safetensors")
Key = tuple[str, str, tuple[int, ...]]


class ExportCheck(QObject):
    """Checks one adapter at a time; the newest wish counts, and no adapter is checked twice.

    Signals:
        changed: ``checked``, ``error`` or ``is_checking`` is another one.
    """

    changed = Signal()

    def __init__(
        self, feed: RunFeed, background: Background, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._feed = feed
        self._background = background
        self._known: dict[Key, ExportChecked] = {}
        self._wish: AdapterChoice | None = None
        self._found: ExportChecked | None = None
        self._job: LiveJob | None = None
        self.checked: ExportChecked | None = None
        self.error: StudioError | None = None
        self.is_checking = False

    def check(self, choice: AdapterChoice | None) -> None:
        """Finds out what is wrong with an adapter; None: with nothing."""
        if choice == self._wish:
            return
        self._wish = choice
        self.checked, self.error, self.is_checking = None, None, False
        self.changed.emit()
        if choice is None:
            return
        self._background.start(
            lambda _: (choice, _get_key(choice), read_export_details(choice.folder)),
            self._on_files_seen,
        )

    def _on_files_seen(self, seen: tuple[AdapterChoice, Key | None, dict[str, object]]) -> None:
        choice, key, details = seen
        if choice != self._wish or key is None:
            return
        if key in self._known:
            self.checked = self._known[key]
            self.changed.emit()
            return
        self.is_checking = True
        self.changed.emit()
        order = CheckExportOrder.model_validate(
            {
                "adapter": str(choice.folder),
                "base": choice.base or None,
                "base_folder": details.get("base_folder"),
            }
        )
        job = self._feed.start_job(order)
        self._job, self._found = job, None
        job.events_arrived.connect(self._on_job_events_arrived)
        job.ended.connect(lambda record: self._on_job_ended(job, choice, key, record))
        job.launch_failed.connect(lambda error: self._show_failure(choice, error))

    def _on_job_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, ExportChecked) and self.sender() is self._job:
                self._found = event

    def _on_job_ended(
        self, job: LiveJob, choice: AdapterChoice, key: Key, record: RunRecord
    ) -> None:
        found = self._found if job is self._job else None
        if found is not None:
            self._known[key] = found
        if choice != self._wish:
            return
        if found is None:
            failure = record.failure
            message = failure.message if failure is not None else "The check did not finish."
            self._show_failure(choice, StudioError(message, failure.remedy if failure else ""))
            return
        self.checked, self.is_checking = found, False
        self.changed.emit()

    def _show_failure(self, choice: AdapterChoice, error: StudioError) -> None:
        if choice == self._wish:
            self.error, self.is_checking = error, False
            self.changed.emit()


def _get_key(choice: AdapterChoice) -> Key | None:
    """Returns what tells one state of an adapter from another; None where there is none."""
    files = [Path(choice.folder) / name for name in _FILES]
    if not all(path.is_file() for path in files):
        return None
    return str(choice.folder), choice.base, tuple(path.stat().st_mtime_ns for path in files)
