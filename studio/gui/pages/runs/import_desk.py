"""The button that brings in what was trained elsewhere, and the words about what came."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from studio.core.events.types import ImportFinished, NoticeRaised
from studio.core.units import format_things
from studio.gui.bridge.run_catalog import get_base_name
from studio.gui.bridge.run_importer import RunImporter
from studio.gui.context import Context
from studio.gui.parts.base_asker import ASK, BaseAsker, describe_kept
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import plain_tooltip
from studio.gui.widgets.notice import Notice

_HELP = (
    "Adds an adapter that was trained elsewhere: a folder in PEFT format, or a capsule (.zip) that "
    "was exported from another LoRA Studio. You can also drop it onto the window."
)


class ImportDesk(QObject):
    """The button of a page, and what its notice says while something comes in.

    Signals:
        imported: The folder of the run that is new.
    """

    imported = Signal(str)

    def __init__(self, context: Context, page: QWidget, notice: Notice) -> None:
        super().__init__(page)
        self._notice = notice
        self._lacking = ""
        self._asker = BaseAsker(context.background, page)
        self._asker.kept.connect(self._on_asker_kept)
        self._asker.failed.connect(lambda error: notice.show_error(error, self._lacking and ASK))
        self.button = ImportButton()
        self.importer = RunImporter(context.feed, context.home, self)
        self.button.paths_chosen.connect(self.importer.bring)
        self.importer.started.connect(self._on_importer_started)
        self.importer.finished.connect(self._on_importer_finished)
        self.importer.failed.connect(notice.show_error)
        notice.action_requested.connect(self._on_notice_action_requested)

    def _on_importer_started(self, path: str) -> None:
        self._notice.show_message("note", f"Checking {path}", "Nothing is added before it is safe.")

    def _on_importer_finished(self, done: ImportFinished, notices: list[NoticeRaised]) -> None:
        is_lacking = any(notice.code == "base_missing" for notice in notices)
        self._lacking = done.folder if is_lacking else ""
        self._notice.show_message(
            "warning" if is_lacking else "success",
            *describe_import(done, notices),
            ASK if is_lacking else "",
        )
        self.imported.emit(done.folder)

    def ask_base(self, run: str) -> None:
        """Asks which base the imported run in a folder belongs to."""
        self._asker.ask(run)

    def _on_notice_action_requested(self) -> None:
        if self._lacking:
            self._asker.ask(self._lacking)

    def _on_asker_kept(self, run: str, folder: str) -> None:
        self._lacking = ""
        self._notice.show_message("success", describe_kept(folder), folder)
        self.imported.emit(run)


class ImportButton(Button):
    """A menu of the two things that can be brought in.

    Signals:
        paths_chosen: The list of paths to import.
    """

    paths_chosen = Signal(list)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Import…", "download", parent=parent)
        self.setToolTip(plain_tooltip(_HELP))
        self._menu = QMenu(self)
        self._menu.addAction("Capsule (.zip)…", self._choose_file)
        self._menu.addAction("Adapter folder…", self._choose_folder)
        self.clicked.connect(self._on_clicked)

    def _on_clicked(self) -> None:
        self._menu.popup(self.mapToGlobal(self.rect().bottomLeft()))

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Choose a capsule", "", "Capsules (*.zip);;All files (*)"
        )
        if path:
            self.paths_chosen.emit([path])

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose an adapter folder")
        if folder:
            self.paths_chosen.emit([folder])


def describe_import(done: ImportFinished, notices: Sequence[NoticeRaised]) -> tuple[str, str]:
    """Returns what was imported, and what to know about it."""
    layers = format_things(done.modules, "adapted layer")
    checked = f"{layers} {'was' if done.modules == 1 else 'were'} checked"
    if done.hashes:
        checked += f" and {format_things(done.hashes, 'file')} compared with their hashes"
    base = f" Its base model is {get_base_name(done.base)}." if done.base else ""
    notes = " ".join(f"{notice.message} {notice.remedy}" for notice in notices)
    return f"{done.name} is among your runs now.", f"{checked}.{base} {notes}".strip()
