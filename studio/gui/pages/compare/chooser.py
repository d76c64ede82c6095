"""Which base and which adapters are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QMenu, QWidget

from studio.gui.bridge.adapter_choice import AdapterChoice, AdapterGroup
from studio.gui.bridge.run_catalog import get_base_name
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import PlainLabel, plain_tooltip
from studio.gui.widgets.switch import Switch

_LONGEST_NAME = 40
_LONGEST_BASE = 28


class Chooser(QWidget):
    """The base, a button to add adapters, and two switches about how answers are shown.

    Signals:
        adapter_chosen: The user adds this ``AdapterChoice`` of the history.
        folder_requested: The user wants to pick an adapter folder.
        base_requested: The user wants to pick another base folder.
        marks_switched: Whether words that differ from the first column are coloured.
        blind_switched: Whether the next prompts are asked without names.
    """

    adapter_chosen = Signal(object)
    folder_requested = Signal()
    base_requested = Signal()
    marks_switched = Signal(bool)
    blind_switched = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._groups: list[AdapterGroup] = []
        self._base = Button("Choose a base", "model")
        self._base.clicked.connect(self.base_requested)
        self._add = Button("Add adapter", "plus")
        self._add.clicked.connect(self._show_menu)
        self._marks = Switch("Colour differences")
        self._marks.setChecked(True)
        self._marks.toggled.connect(self.marks_switched)
        self._blind = Switch("Blind test")
        self._blind.toggled.connect(self.blind_switched)
        row = FlowRow(self)
        row.addWidget(self._base)
        row.addWidget(self._add)
        row.addWidget(
            _label(
                self._marks,
                "Colour differences",
                "Colours the words that the first column does not have.",
            )
        )
        row.addWidget(
            _label(
                self._blind,
                "Blind test",
                "The next answers come without names and in random order. You vote for the best; "
                "then the names are shown and the ranks are updated.",
            )
        )

    def show_choices(self, groups: Sequence[AdapterGroup]) -> None:
        """Offers these adapters of the history in the menu."""
        self._groups = list(groups)

    def show_selection(self, base: str, adapters: int) -> None:
        """Shows the base, and whether there are enough columns for a blind test."""
        text = get_base_name(base) if base else "Choose a base"
        text = text if len(text) <= _LONGEST_BASE else f"{text[:_LONGEST_BASE]}…"
        self._base.set_text_and_icon(text.replace("&", "&&"), "model")
        self._base.setAccessibleName(f"Base: {text}")
        self._base.setToolTip(plain_tooltip(base or "The model without any adapter"))
        self._blind.setEnabled(adapters > 0)
        if not adapters:
            self._blind.setChecked(False)

    def _show_menu(self) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for group in self._groups:
            words = f"{_shorten(group.final.name)}   ({group.final.base_name})"
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
        menu.addAction("Choose a folder…", self.folder_requested.emit)
        menu.popup(self._add.mapToGlobal(self._add.rect().bottomLeft()))

    def _make_choice(self, choice: AdapterChoice) -> Callable[[], None]:
        return lambda: self.adapter_chosen.emit(choice)


def _label(switch: Switch, words: str, help_text: str) -> QWidget:
    """Returns a switch with its words, which explain themselves on hover."""
    box = QWidget()
    row = QHBoxLayout(box)
    row.setContentsMargins(SIZES.xs, 0, 0, 0)
    row.setSpacing(SIZES.xs)
    row.addWidget(switch)
    row.addWidget(PlainLabel(words, wraps=False))
    box.setToolTip(plain_tooltip(help_text))
    switch.setAccessibleDescription(help_text)
    return box


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
