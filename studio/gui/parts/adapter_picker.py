"""A base and a row of adapters, with buttons to choose others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QFrame, QHBoxLayout, QMenu, QSizePolicy, QWidget

from studio.gui.bridge.adapter_choice import AdapterChoice
from studio.gui.bridge.adapter_selection import AdapterSelection
from studio.gui.bridge.run_catalog import get_base_name
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button, IconButton
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import ElidedLabel, PlainLabel, plain_tooltip

_LONGEST_NAME = 40


class AdapterPicker(QWidget):
    """Shows an ``AdapterSelection`` and passes the user's wishes on to it."""

    def __init__(self, selection: AdapterSelection, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._selection = selection
        self._base = Button("Choose a base", "model")
        self._base.clicked.connect(self._on_base_clicked)
        self._add = Button("Add adapter", "plus")
        self._add.clicked.connect(self._show_menu)
        self._tags: list[QWidget] = []
        self._row = FlowRow(self, SIZES.s)
        for widget in (self._base, PlainLabel("with", "muted", wraps=False), self._add):
            self._row.addWidget(widget)
        selection.changed.connect(self._show_selection)
        self._show_selection()

    def _show_selection(self) -> None:
        base = self._selection.base
        text = get_base_name(base) if base else "Choose a base"
        self._base.set_text_and_icon(text[:_LONGEST_NAME].replace("&", "&&"), "model")
        self._base.setToolTip(plain_tooltip(base or "The model without any adapter"))
        for tag in self._tags:
            self._row.removeWidget(tag)
            tag.hide()
            tag.deleteLater()
        self._row.removeWidget(self._add)
        self._tags = [self._build_tag(name) for name in self._selection.adapters]
        for tag in (*self._tags, self._add):
            self._row.addWidget(tag)
        self.updateGeometry()

    def _build_tag(self, name: str) -> QWidget:
        tag = QFrame(self)
        tag.setProperty("kind", "note")
        label = ElidedLabel(name, "strong", mode=Qt.TextElideMode.ElideRight)
        label.setMaximumWidth(200)
        label.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        close = IconButton("close", f"Take out {name}")
        close.clicked.connect(lambda: self._selection.remove(name))
        row = QHBoxLayout(tag)
        row.setContentsMargins(SIZES.m, 2, 2, 2)
        row.setSpacing(2)
        row.addWidget(label)
        row.addWidget(close)
        tag.show()
        return tag

    def _show_menu(self) -> None:
        menu = QMenu(self)
        for choice in self._selection.choices:
            name = choice.name
            if len(name) > _LONGEST_NAME:
                name = f"{name[:_LONGEST_NAME]}…"
            words = f"{name}   ({choice.base_name})".replace("&", "&&")
            menu.addAction(words, self._make_choice(choice))
        if not self._selection.choices:
            menu.addAction("No run has an adapter yet").setEnabled(False)
        menu.addSeparator()
        menu.addAction("Choose a folder…", self._on_folder_wished)
        menu.popup(self._add.mapToGlobal(self._add.rect().bottomLeft()))

    def _make_choice(self, choice: AdapterChoice) -> Callable[[], None]:
        return lambda: self._selection.add(choice)

    def _on_folder_wished(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose an adapter folder")
        if folder:
            self._selection.add_folder(Path(folder))

    def _on_base_clicked(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose the folder of a base model")
        if folder:
            self._selection.choose_base(folder)
