"""The two buttons by which every page picks models: the base, and one more adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from studio.gui.bridge.adapter_choice import AdapterChoice, AdapterGroup
from studio.gui.bridge.run_catalog import get_base_name
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import plain_tooltip

_LONGEST_NAME = 40
_LONGEST_BASE = 28


class BaseButton(Button):
    """Shows the base; a click chooses the folder of another one.

    Signals:
        base_chosen: The folder of a base model.
    """

    base_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Choose a base", "model", parent=parent)
        self.clicked.connect(self._on_clicked)

    def show_base(self, base: str) -> None:
        """Shows the name of a base; its whole path is shown on hover."""
        text = _shorten(get_base_name(base) if base else "Choose a base", _LONGEST_BASE)
        self.set_text_and_icon(text.replace("&", "&&"), "model")
        self.setAccessibleName(f"Base: {text}")
        self.setToolTip(plain_tooltip(base or "The model without any adapter"))

    def _on_clicked(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose the folder of a base model")
        if folder:
            self.base_chosen.emit(folder)


class AddAdapterButton(Button):
    """Offers the adapters of the history with their checkpoints, and any folder of the disk.

    Signals:
        adapter_chosen: An ``AdapterChoice`` of the history.
        folder_chosen: The path of any folder.
    """

    adapter_chosen = Signal(object)
    folder_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Add adapter", "plus", parent=parent)
        self._groups: list[AdapterGroup] = []
        self.clicked.connect(self._on_clicked)

    def show_choices(self, groups: Sequence[AdapterGroup]) -> None:
        """Offers these adapters of the history."""
        self._groups = list(groups)

    def build_menu(self) -> QMenu:
        """Returns the menu with everything that can be added."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for group in self._groups:
            base = f"   ({group.final.base_name})" if group.final.base else ""
            words = f"{_shorten(group.final.name, _LONGEST_NAME)}{base}"
            if not group.checkpoints:
                menu.addAction(words.replace("&", "&&"), self._make_choice(group.final))
                continue
            steps = menu.addMenu(words.replace("&", "&&"))
            steps.addAction("Finished adapter", self._make_choice(group.final))
            for choice in group.checkpoints:
                name = choice.name.removeprefix(f"{group.final.name}, ")
                steps.addAction(f"Checkpoint at {name}", self._make_choice(choice))
        if not self._groups:
            menu.addAction("No run has an adapter yet").setEnabled(False)
        menu.addSeparator()
        menu.addAction("Choose a folder…", self._on_folder_wished)
        return menu

    def _on_clicked(self) -> None:
        self.build_menu().popup(self.mapToGlobal(self.rect().bottomLeft()))

    def _make_choice(self, choice: AdapterChoice) -> Callable[[], None]:
        return lambda: self.adapter_chosen.emit(choice)

    def _on_folder_wished(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose an adapter folder")
        if folder:
            self.folder_chosen.emit(Path(folder))


def _shorten(name: str, longest: int) -> str:
    """Returns a name without its middle where it is long: the end tells runs apart."""
    return name if len(name) <= longest else f"{name[: longest - 16]}…{name[-15:]}"
