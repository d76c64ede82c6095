"""Folders: where models are looked for, and where the program keeps its own files."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button, IconButton
from studio.gui.widgets.card import Card, build_row
from studio.gui.widgets.icon import Icon
from studio.gui.widgets.labels import ElidedLabel, PlainLabel


class FoldersCard(Card):
    """The user's own folders of models.

    Signals:
        folders_changed: All folders, after one was added or taken away.
    """

    folders_changed = Signal(list)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            "Model folders",
            "Searched for models beside the caches of Hugging Face and LM Studio.",
            parent,
        )
        self._folders: list[str] = []
        self._rows = QVBoxLayout()
        self._rows.setSpacing(SIZES.xs)
        self._none = PlainLabel("No folders of your own yet.", "caption")
        add = Button("&Add a folder…", "plus")
        add.clicked.connect(self._on_add_clicked)
        self.body.addWidget(self._none)
        self.body.addLayout(self._rows)
        self.body.addLayout(build_row(add))

    def show_folders(self, folders: list[str]) -> None:
        """Shows another list of folders."""
        self._folders = list(folders)
        while (item := self._rows.takeAt(0)) is not None:
            row = item.widget()
            if row is not None:
                row.setParent(None)
                row.deleteLater()
        for folder in folders:
            self._rows.addWidget(self._build_row(folder))
        self._none.setVisible(not folders)

    def _build_row(self, folder: str) -> QWidget:
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(SIZES.s)
        remove = IconButton("close", f"Do not search {folder}")
        remove.clicked.connect(lambda: self._on_remove_clicked(folder))
        line.addWidget(Icon("folder"))
        line.addWidget(ElidedLabel(folder), 1)
        line.addWidget(remove)
        return row

    def _on_add_clicked(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a folder with models")
        if folder and folder not in self._folders:
            self._change([*self._folders, folder])

    def _on_remove_clicked(self, folder: str) -> None:
        self._change([other for other in self._folders if other != folder])

    def _change(self, folders: list[str]) -> None:
        self.show_folders(folders)
        self.folders_changed.emit(folders)


class HomeCard(Card):
    """Says where runs and settings are kept, and opens that folder."""

    def __init__(self, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(
            "Files of the program",
            "Runs, settings and caches. To use another drive, start with --home FOLDER.",
            parent,
        )
        path = ElidedLabel(str(folder))
        path.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        show = Button("&Open the folder", "folder")
        show.clicked.connect(lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder))))
        self.body.addLayout(build_row(Icon("folder"), path, stretches=False))
        self.body.addLayout(build_row(show))
