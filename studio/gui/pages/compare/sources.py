"""Where columns come from: runs of the history, their checkpoints, any folder on the disk."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from studio.core.arrivals import is_data_name
from studio.gui.bridge.adapter_choice import AdapterGroup, find_group, load_choice
from studio.gui.bridge.background import Background, Cancellation
from studio.gui.bridge.run_catalog import RunCatalog
from studio.gui.pages.compare.chooser import Chooser
from studio.gui.pages.compare.line_up import LineUp
from studio.gui.widgets.drop_area import DropCatcher


class Sources(QObject):
    """Serves a ``Chooser``: finds adapters off the window and gives them to the line-up.

    Folders that are dropped on ``target`` are added as well.

    Signals:
        failed: A ``StudioError``: the history or a folder cannot be used.
    """

    failed = Signal(object)

    def __init__(
        self,
        catalog: RunCatalog,
        background: Background,
        chooser: Chooser,
        line_up: LineUp,
        target: QWidget,
    ) -> None:
        super().__init__(chooser)
        self._catalog, self._background = catalog, background
        self._chooser, self._line_up = chooser, line_up
        self._wanted: list[str] = []
        chooser.adapter_chosen.connect(line_up.add)
        catcher = DropCatcher(target, "Add to the comparison", _may_hold_adapters)
        catcher.paths_dropped.connect(self._on_catcher_paths_dropped)
        chooser.folder_requested.connect(self._on_chooser_folder_requested)
        chooser.base_requested.connect(self._on_chooser_base_requested)

    def refresh(self, wanted_run: str = "") -> None:
        """Reads which adapters there are; adds that of the run in a folder."""
        self._wanted += [wanted_run] if wanted_run else []

        def work(_: Cancellation) -> list[AdapterGroup]:
            groups = [find_group(row) for row in self._catalog.load()]
            return [group for group in groups if group is not None]

        self._background.start(work, self._on_groups_loaded, self.failed.emit)

    def add_folder(self, folder: Path) -> None:
        """Adds the adapter in a folder, or says what is wrong with it."""

        def work(_: Cancellation) -> object:
            return load_choice(folder)

        self._background.start(work, self._line_up.add, self.failed.emit)

    def _on_groups_loaded(self, groups: list[AdapterGroup]) -> None:
        self._chooser.show_choices(groups)
        wanted, self._wanted = self._wanted, []
        for group in groups:
            if group.folder in wanted:
                self._line_up.add(group.final)

    def _on_catcher_paths_dropped(self, paths: list[str]) -> None:
        for path in paths:
            self.add_folder(Path(path))

    def _on_chooser_folder_requested(self) -> None:
        folder = QFileDialog.getExistingDirectory(self._chooser, "Choose an adapter folder")
        if folder:
            self.add_folder(Path(folder))

    def _on_chooser_base_requested(self) -> None:
        title = "Choose the folder of a base model"
        folder = QFileDialog.getExistingDirectory(self._chooser, title)
        if folder:
            self._line_up.choose_base(folder)


def _may_hold_adapters(paths: list[str]) -> bool:
    """Return whether no path is named like training data or a recipe; the window opens those."""
    files = (".yaml", ".yml", ".zip")
    return not any(is_data_name(path) or path.lower().endswith(files) for path in paths)
