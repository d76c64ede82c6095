"""A base and adapters that a page works with: offered from the history, checked, by name."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.errors import AdapterUnusable
from studio.core.runs.store import RunStore
from studio.core.weights.quantisable import BaseForm
from studio.gui.bridge.adapter_choice import AdapterChoice, AdapterGroup, check_base
from studio.gui.bridge.adapter_shelf import AdapterShelf
from studio.gui.bridge.background import Background
from studio.gui.bridge.run_catalog import RunRow

BASE = "base"


class AdapterSelection(QObject):
    """Which base and which adapters are chosen; the first adapter brings its base along.

    ``form`` is how the base is held: auto means as the adapters saw it in training.
    ``background`` does what is slow beside the window.

    Signals:
        base_wanted: This ``AdapterChoice`` was brought in, and its base is not here.
        offered: The history was read; ``groups`` and ``rows`` are new.
        changed: Another base or other adapters are chosen.
        refused: A choice is impossible, or the history cannot be read; a ``StudioError``.
    """

    base_wanted = Signal(object)
    offered = Signal()
    changed = Signal()
    refused = Signal(object)

    def __init__(
        self, store: RunStore, background: Background, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.background = background
        self._shelf = AdapterShelf(store, background, self)
        self._shelf.picked.connect(self.add)
        self._shelf.offered.connect(self.offered)
        self._shelf.failed.connect(self.refused)
        self.base = ""
        self.form: BaseForm = "auto"
        self.adapters: dict[str, AdapterChoice] = {}

    @property
    def groups(self) -> list[AdapterGroup]:
        """The adapters of the history."""
        return self._shelf.groups

    @property
    def rows(self) -> list[RunRow]:
        """The runs of the history."""
        return self._shelf.rows

    @property
    def folders(self) -> dict[str, str]:
        """The adapter folders by column name, as orders want them."""
        return {name: str(choice.folder) for name, choice in self.adapters.items()}

    def set_form(self, form: BaseForm) -> None:
        """Says how the base is held while adapters are measured."""
        self.form = form

    def refresh(self) -> None:
        """Reads which adapters there are."""
        self._shelf.refresh()

    def add_run(self, folder: str) -> None:
        """Adds the adapter of the run in a folder as soon as the history is read."""
        self._shelf.refresh(folder)

    def add_folder(self, folder: Path) -> None:
        """Adds the adapter in a folder, or tells what is wrong with it."""
        self._shelf.pick_folder(folder)

    def add(self, choice: AdapterChoice) -> None:
        """Adds an adapter unless it belongs to another base."""
        if any(choice.folder == other.folder for other in self.adapters.values()):
            return
        if choice.lacking_run:
            self.base_wanted.emit(choice)
            if not choice.base:
                return
        try:
            if not self.base and not choice.base:
                raise AdapterUnusable(
                    f"The adapter {choice.name} does not say which base model it belongs to.",
                    "Choose the base first, then add the adapter.",
                )
            check_base(choice, self.base)
        except AdapterUnusable as error:
            self.refused.emit(error)
            return
        self.base = self.base or choice.base
        self.adapters[self._find_free_name(choice.name)] = choice
        self.changed.emit()

    def add_again(self, run: str) -> None:
        """Adds the adapter of an imported run whose base is known now."""
        for name, choice in list(self.adapters.items()):
            if choice.lacking_run == run:
                del self.adapters[name]
        if not self.adapters:
            self.base = ""
        self.changed.emit()
        self.add_run(run)

    def remove(self, name: str) -> None:
        """Takes an adapter out."""
        if self.adapters.pop(name, None) is not None:
            self.changed.emit()

    def choose_base(self, base: str) -> None:
        """Works with another base; adapters of other models leave."""
        self.base = base
        kept = {}
        for name, choice in self.adapters.items():
            try:
                check_base(choice, base)
                kept[name] = choice
            except AdapterUnusable as error:
                self.refused.emit(error)
        self.adapters = kept
        self.changed.emit()

    def _find_free_name(self, name: str) -> str:
        candidate, number = name, 2
        while candidate in self.adapters or candidate == BASE:
            candidate, number = f"{name} ({number})", number + 1
        return candidate
