"""A base and a row of adapters, with buttons to choose others."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from studio.gui.bridge.adapter_selection import AdapterSelection
from studio.gui.parts.adapter_buttons import AddAdapterButton, BaseButton
from studio.gui.parts.base_asker import BaseNotice
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import IconButton
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import ElidedLabel, PlainLabel


class AdapterPicker(QWidget):
    """Shows an ``AdapterSelection`` and passes the user's wishes on to it."""

    def __init__(self, selection: AdapterSelection, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._selection = selection
        self._base, self._add = BaseButton(), AddAdapterButton()
        self._base.base_chosen.connect(selection.choose_base)
        self._add.adapter_chosen.connect(selection.add)
        self._add.folder_chosen.connect(selection.add_folder)
        selection.offered.connect(lambda: self._add.show_choices(selection.groups))
        self._tags: list[QWidget] = []
        notice = BaseNotice(selection.background)
        selection.base_wanted.connect(notice.offer)
        notice.kept.connect(selection.add_again)
        line = QWidget()
        self._row = FlowRow(line, SIZES.s)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.s)
        box.addWidget(notice)
        box.addWidget(line)
        for widget in (self._base, PlainLabel("with", "muted", wraps=False), self._add):
            self._row.addWidget(widget)
        selection.changed.connect(self._show_selection)
        self._show_selection()

    def _show_selection(self) -> None:
        self._base.show_base(self._selection.base)
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
        label = ElidedLabel(name, "strong")
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
