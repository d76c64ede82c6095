"""Which base and which adapters are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QSizePolicy, QWidget

from studio.gui.bridge.adapter_choice import AdapterChoice
from studio.gui.bridge.run_catalog import get_base_name
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button, IconButton
from studio.gui.widgets.labels import ElidedLabel, PlainLabel, plain_tooltip

_LONGEST_NAME = 40


class Chooser(QWidget):
    """The base, one tag per adapter, and a button to add more.

    Signals:
        adapter_chosen: The user adds this ``AdapterChoice`` of the history.
        folder_requested: The user wants to pick an adapter folder.
        base_requested: The user wants to pick another base folder.
        removed: The adapter with this name is to leave.
    """

    adapter_chosen = Signal(object)
    folder_requested = Signal()
    base_requested = Signal()
    removed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._choices: list[AdapterChoice] = []
        self._base = Button("Choose a base", "model")
        self._base.clicked.connect(self.base_requested)
        self._tags = QHBoxLayout()
        self._tags.setSpacing(SIZES.s)
        self._add = Button("Add adapter", "plus")
        self._add.clicked.connect(self._show_menu)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SIZES.s)
        row.addWidget(self._base)
        row.addWidget(PlainLabel("beside", "muted", wraps=False))
        row.addLayout(self._tags)
        row.addWidget(self._add)
        row.addStretch(1)

    def show_choices(self, choices: Sequence[AdapterChoice]) -> None:
        """Offers these adapters of the history in the menu."""
        self._choices = list(choices)

    def show_selection(self, base: str, names: Sequence[str]) -> None:
        """Shows the base and the adapters that are compared."""
        text = get_base_name(base) if base else "Choose a base"
        self._base.set_text_and_icon(text.replace("&", "&&"), "model")
        self._base.setToolTip(plain_tooltip(base or "The model without any adapter"))
        while (item := self._tags.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for name in names:
            tag = _Tag(name)
            tag.removed.connect(lambda name=name: self.removed.emit(name))
            self._tags.addWidget(tag)

    def _show_menu(self) -> None:
        menu = QMenu(self)
        for choice in self._choices:
            name = (
                choice.name
                if len(choice.name) <= _LONGEST_NAME
                else (f"{choice.name[:_LONGEST_NAME]}…")
            )
            words = f"{name}   ({choice.base_name})".replace("&", "&&")
            menu.addAction(words, self._make_choice(choice))
        if not self._choices:
            menu.addAction("No run has an adapter yet").setEnabled(False)
        menu.addSeparator()
        menu.addAction("Choose a folder…", self.folder_requested.emit)
        menu.popup(self._add.mapToGlobal(self._add.rect().bottomLeft()))

    def _make_choice(self, choice: AdapterChoice) -> Callable[[], None]:
        return lambda: self.adapter_chosen.emit(choice)


class _Tag(QFrame):
    """The name of an adapter with a button to take it out."""

    removed = Signal()

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setProperty("kind", "note")
        label = ElidedLabel(name, "strong", mode=Qt.TextElideMode.ElideRight)
        label.setMaximumWidth(180)
        label.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        close = IconButton("close", f"Take out {name}")
        close.clicked.connect(self.removed)
        row = QHBoxLayout(self)
        row.setContentsMargins(SIZES.m, 2, 2, 2)
        row.setSpacing(2)
        row.addWidget(label)
        row.addWidget(close)
