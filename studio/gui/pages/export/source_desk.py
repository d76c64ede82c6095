"""Finds the adapters of the history and of other folders, and keeps which one is chosen."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog

from studio.gui.bridge.adapter_choice import AdapterChoice, AdapterGroup, find_group, load_choice
from studio.gui.bridge.background import Background
from studio.gui.bridge.run_catalog import RunCatalog
from studio.gui.pages.export.choices import find_choice, merge_groups
from studio.gui.pages.export.presenter import ExportPresenter
from studio.gui.pages.export.source_card import SourceCard
from studio.gui.parts.base_asker import BaseNotice


class SourceDesk(QObject):
    """Serves a ``SourceCard``.

    Signals:
        chosen: Another adapter is chosen.
        failed: A ``StudioError``: the history or a folder cannot be used.
    """

    chosen = Signal()
    failed = Signal(object)

    def __init__(
        self,
        catalog: RunCatalog,
        background: Background,
        presenter: ExportPresenter,
        card: SourceCard,
    ) -> None:
        super().__init__(card)
        self._catalog, self._background = catalog, background
        self._presenter, self._card = presenter, card
        self._groups: list[AdapterGroup] = []
        self._picked: list[AdapterChoice] = []
        self._notice = BaseNotice(background)
        card.body.addWidget(self._notice)
        self._notice.kept.connect(self.refresh)
        self._wanted = ""
        card.chosen.connect(lambda _: self.chosen.emit())
        card.chosen.connect(presenter.choose)
        card.folder_requested.connect(self._on_card_folder_requested)
        presenter.changed.connect(self._on_presenter_changed)

    def refresh(self, wanted_run: str = "") -> None:
        """Reads which adapters there are; chooses that of the run in a folder, if one is given."""
        self._wanted = wanted_run or self._wanted
        self._background.start(
            lambda _: [find_group(row) for row in self._catalog.load()],
            self._on_groups_loaded,
            self.failed.emit,
        )

    def add_folder(self, folder: Path) -> None:
        """Chooses the adapter in a folder, or says what is wrong with it."""
        self._background.start(
            lambda _: load_choice(folder), self._on_choice_loaded, self.failed.emit
        )

    def _on_groups_loaded(self, found: list[AdapterGroup | None]) -> None:
        self._groups = merge_groups([one for one in found if one is not None], self._picked)
        wanted, self._wanted = self._wanted, ""
        choice = find_choice(self._groups, wanted, self._presenter.choice)
        if choice != self._presenter.choice:
            self.chosen.emit()  # before it is checked, which may fail at once
            self._presenter.choose(choice)
        self._card.show_choices(self._groups, choice)

    def _on_choice_loaded(self, choice: AdapterChoice) -> None:
        self._picked.append(choice)
        self._groups = merge_groups(self._groups, [choice])
        self.chosen.emit()
        self._presenter.choose(choice)

    def _on_presenter_changed(self) -> None:
        self._card.show_choices(self._groups, self._presenter.choice)
        self._card.setEnabled(not self._presenter.is_busy)
        choice = self._presenter.choice
        if choice is not None and choice.lacking_run:
            self._notice.offer(choice)
        else:
            self._notice.clear()

    def _on_card_folder_requested(self) -> None:
        folder = QFileDialog.getExistingDirectory(self._card, "Choose an adapter folder")
        if folder:
            self.add_folder(Path(folder))
