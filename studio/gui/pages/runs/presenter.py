"""Lists, renames and deletes runs in the background and loads the curves of the selected ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.runs.layout import RunLayout
from studio.core.runs.record import RunRecord
from studio.gui.bridge.background import Background, BackgroundCall, Cancellation
from studio.gui.bridge.curves import RunCurves
from studio.gui.bridge.run_catalog import RunCatalog, RunRow
from studio.gui.bridge.run_feed import RunFeed
from studio.gui.forms.draft import Draft

Curves = tuple[tuple[str, RunCurves], ...]
_SHOWN_CURVES = 6


class RunsPresenter(QObject):
    """Knows the history; slow work never happens on the window's thread.

    Signals:
        rows_loaded: The list of ``RunRow``, newest first.
        record_changed: A run at work has a newer ``RunRecord``.
        curves_loaded: Names and ``RunCurves`` of the selected runs.
        deletion_measured: The rows to delete and their size in bytes: ask the user.
        failed: A ``StudioError``.
    """

    rows_loaded = Signal(list)
    record_changed = Signal(object)
    curves_loaded = Signal(object)
    deletion_measured = Signal(list, object)
    failed = Signal(object)

    def __init__(
        self, feed: RunFeed, background: Background, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._feed = feed
        self._background = background
        self._catalog = RunCatalog(feed.store)
        self._listing: BackgroundCall | None = None
        self._drawing: BackgroundCall | None = None
        feed.run_changed.connect(self.record_changed)
        feed.run_started.connect(lambda _folder: self.load())
        feed.run_ended.connect(lambda _record: self.load())
        feed.failed.connect(self.failed)

    def load(self) -> None:
        """Reads the history again."""
        if self._listing is not None:
            self._listing.cancel()
        self._listing = self._background.start(
            lambda _: self._catalog.load(), self.rows_loaded.emit, self.failed.emit
        )

    def load_curves(self, rows: Sequence[RunRow]) -> None:
        """Reads the curves of the first few of these runs that have any."""
        if self._drawing is not None:
            self._drawing.cancel()
        wanted = tuple(rows)
        self._drawing = self._background.start(
            lambda cancellation: self._read_curves(wanted, cancellation),
            self.curves_loaded.emit,
            self.failed.emit,
        )

    def rename(self, folder: str, title: str) -> None:
        """Gives a run another name."""
        self._background.start(
            lambda _: self._feed.store.rename(folder, title),
            self._on_renamed,
            self.failed.emit,
        )

    def train_further(self, row: RunRow, draft: Draft) -> None:
        """Fills the form so that the next run starts with the adapter of this one."""
        draft.set_values(
            {
                "name": f"{row.record.name} further"[:100],
                "base.model": row.base,
                "adapter.resume_from": str(row.adapter),
            }
        )

    def measure_deletion(self, rows: Sequence[RunRow]) -> None:
        """Adds up what deleting these runs would free, before the user is asked."""
        wanted = list(rows)
        self._background.start(
            lambda cancellation: measure_bytes([row.record.folder for row in wanted], cancellation),
            lambda size: self.deletion_measured.emit(wanted, size),
            self.failed.emit,
        )

    def delete(self, rows: Sequence[RunRow]) -> None:
        """Deletes runs with everything in them."""
        folders = [row.folder for row in rows]

        def work(_: Cancellation) -> None:
            for folder in folders:
                self._feed.store.delete(folder)

        self._background.start(work, lambda _: self.load(), self._on_delete_failed)

    def _read_curves(self, rows: Sequence[RunRow], cancellation: Cancellation) -> Curves:
        found: list[tuple[str, RunCurves]] = []
        bare: list[tuple[str, RunCurves]] = []
        for row in rows:
            if cancellation.is_set or len(found) == _SHOWN_CURVES:
                break
            journal = self._feed.store.open_journal(RunLayout(row.record.folder))
            journal.read_all()
            curves = RunCurves.take(journal.series)
            has_points = len(curves.steps) + len(curves.validation_steps) > 0
            (found if has_points else bare).append((row.title, curves))
        return tuple(found or bare[:1])

    def _on_renamed(self, record: RunRecord) -> None:
        self.record_changed.emit(record)

    def _on_delete_failed(self, error: object) -> None:
        self.failed.emit(error)
        self.load()


def measure_bytes(folders: Sequence[Path], cancellation: Cancellation) -> int:
    """Returns the size of all files below some folders, in bytes."""
    total = 0
    for folder in folders:
        for path in folder.rglob("*"):
            if cancellation.is_set:
                return total
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
    return total
