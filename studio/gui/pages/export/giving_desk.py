"""Ties what can be done with an export to the jobs that do it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from studio.core.jobs.orders import HandOverOrder, PushOrder
from studio.gui.bridge.background import Background
from studio.gui.bridge.export_history import ExportRecord
from studio.gui.bridge.giving import Giver, Surroundings
from studio.gui.pages.export.result_card import ResultCard
from studio.gui.pages.export.upload_dialog import UploadDialog


class GivingDesk(QObject):
    """Serves the result card of a page: programs on this machine, and the hub."""

    def __init__(
        self, giver: Giver, background: Background, result: ResultCard, page: QWidget
    ) -> None:
        super().__init__(page)
        self._giver, self._background = giver, background
        self._result, self._page = result, page
        self._record: ExportRecord | None = None
        self._around = Surroundings()
        self.dialog: UploadDialog | None = None
        panel = result.give
        giver.looked.connect(self._on_giver_looked)
        giver.progressed.connect(panel.show_progress)
        giver.handed_over.connect(panel.show_given)
        giver.pushed.connect(panel.show_pushed)
        giver.stopped.connect(panel.show_stopped)
        giver.failed.connect(panel.show_failure)
        panel.give_requested.connect(self._on_panel_give_requested)
        panel.look_requested.connect(giver.look)
        panel.stop_requested.connect(giver.stop)
        result.upload_requested.connect(self._on_result_upload_requested)

    def show_record(self, record: ExportRecord) -> None:
        """Shows an export and looks which programs there are for it."""
        if self._giver.is_busy:
            return
        self._record = record
        self._result.show_record(record)
        self._giver.look()

    def _on_giver_looked(self, around: Surroundings) -> None:
        self._around = around
        self._result.give.show_surroundings(around)

    def _on_panel_give_requested(self, program: str, name: str, replaces: bool) -> None:
        if self._record is not None:
            self._giver.start(
                HandOverOrder.model_validate(
                    {
                        "folder": self._record.folder,
                        "program": program,
                        "name": name,
                        "replaces": replaces,
                    }
                )
            )

    def _on_result_upload_requested(self, record: ExportRecord) -> None:
        self._background.start(
            lambda _: _measure(Path(record.folder)), lambda size: self._show_dialog(record, size)
        )

    def _show_dialog(self, record: ExportRecord, size: tuple[int, int]) -> None:
        self.dialog = UploadDialog(
            self._giver.gate,
            has_token=self._around.has_token,
            files=size[0],
            size_bytes=size[1],
            parent=self._page,
        )
        self.dialog.upload_requested.connect(
            lambda name, is_private: self._giver.start(
                PushOrder(folder=record.folder, repository=name, is_private=is_private)
            )
        )
        self.dialog.open()


def _measure(folder: Path) -> tuple[int, int]:
    """Returns how many files there are in a folder, and their size."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)
