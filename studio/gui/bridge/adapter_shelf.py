"""The adapters that can be picked: those of the history with their checkpoints, any folder."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.runs.store import RunStore
from studio.gui.bridge.adapter_choice import AdapterGroup, find_group, load_choice
from studio.gui.bridge.background import Background, Cancellation
from studio.gui.bridge.run_catalog import RunCatalog, RunRow

_Found = list[tuple[RunRow, AdapterGroup | None]]


class AdapterShelf(QObject):
    """Reads beside the window what there is, and judges what the user brings.

    Signals:
        offered: The history was read; ``groups`` and ``rows`` are new.
        picked: This ``AdapterChoice`` is wanted and can be read.
        failed: The history or a folder cannot be used; a ``StudioError``.
    """

    offered = Signal()
    picked = Signal(object)
    failed = Signal(object)

    def __init__(
        self, store: RunStore, background: Background, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._background = background
        self._catalog = RunCatalog(store)
        self._wanted: list[str] = []
        self.groups: list[AdapterGroup] = []
        self.rows: list[RunRow] = []

    def refresh(self, wanted_run: str = "") -> None:
        """Reads which adapters there are; picks that of the run in a folder, if one is named."""
        self._wanted += [wanted_run] if wanted_run else []

        def work(_: Cancellation) -> _Found:
            return [(row, find_group(row)) for row in self._catalog.load()]

        self._background.start(work, self._on_found, self.failed.emit)

    def pick_folder(self, folder: Path) -> None:
        """Picks the adapter in a folder, or says what is wrong with it."""
        self._background.start(lambda _: load_choice(folder), self.picked.emit, self.failed.emit)

    def _on_found(self, found: _Found) -> None:
        self.rows = [row for row, _ in found]
        self.groups = [group for _, group in found if group is not None]
        known = {row.folder for row in self.rows}
        # a reading that began before the run was there must not forget the wish
        wanted, self._wanted = self._wanted, [one for one in self._wanted if one not in known]
        for group in self.groups:
            if group.folder in wanted:
                self.picked.emit(group.final)
        self.offered.emit()
