"""Editors of values from a fixed set, and of yes or no."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QComboBox, QLineEdit, QVBoxLayout, QWidget

from studio.core.recipe.fields import FieldSpec
from studio.gui.forms.editors.base import Editor
from studio.gui.forms.words import get_choice_name
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.labels import PlainLabel, plain_tooltip
from studio.gui.widgets.switch import Switch

_WIDTH = 230


class ChoiceEditor(Editor):
    """A list to choose from; values that are not built yet are shown and cannot be chosen."""

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._spec = spec
        self._words = {choice.value: choice.words for choice in spec.choices}
        self._box = build_choice_box(spec)
        self._box.activated.connect(self._on_activated)
        self._explanation = PlainLabel("", "caption")
        self._column = QVBoxLayout()
        self._column.setSpacing(SIZES.xs)
        self.line.addLayout(self._column, 1)
        self.add_target(self._box, spec.label)
        self.line.removeWidget(self._box)
        self._column.addWidget(self._box, 0, Qt.AlignmentFlag.AlignLeft)
        self._column.addWidget(self._explanation)

    def show_value(self, value: Any) -> None:
        """Marks a value of the set."""
        with QSignalBlocker(self._box):
            self._box.setCurrentIndex(max(0, self._box.findData(value)))
        self._explain()

    def _on_activated(self) -> None:
        self._explain()
        self.edited.emit(self._box.currentData())

    def _explain(self) -> None:
        words = self._words.get(str(self._box.currentData()), "")
        self._explanation.setText(words)
        self._explanation.setVisible(bool(words))


class ChoiceOrNamesEditor(ChoiceEditor):
    """A list to choose from, with "by name" as its last entry, which opens a line for patterns."""

    _BY_NAME = "\0by-name"

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(spec, parent)
        self._box.addItem("Chosen by name…", self._BY_NAME)
        self._names = QLineEdit()
        self._names.setPlaceholderText("q_proj, v_proj or *.mlp.*")
        self._names.setAccessibleName(f"{spec.label}: names, separated by commas")
        self._names.editingFinished.connect(self._on_names_edited)
        self._column.insertWidget(1, self._names)
        self._names.hide()

    def show_value(self, value: Any) -> None:
        """Marks a value of the set, or shows a list of patterns."""
        is_list = isinstance(value, list | tuple)
        super().show_value(self._BY_NAME if is_list else value)
        self._names.setVisible(is_list)
        if is_list:
            self._names.setText(", ".join(str(name) for name in value))

    def _on_activated(self) -> None:
        is_list = self._box.currentData() == self._BY_NAME
        self._names.setVisible(is_list)
        if not is_list:
            super()._on_activated()
            return
        self._explain()
        self._names.setFocus(Qt.FocusReason.OtherFocusReason)
        self._on_names_edited()

    def _on_names_edited(self) -> None:
        names = [name.strip() for name in self._names.text().split(",")]
        self.edited.emit([name for name in names if name])


class SwitchEditor(Editor):
    """Yes or no."""

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._switch = Switch(spec.label)
        self._switch.clicked.connect(self.edited.emit)
        self.add_target(self._switch, spec.label)
        self.line.addStretch(1)

    def show_value(self, value: Any) -> None:
        """Shows yes or no."""
        self._switch.setChecked(bool(value))


def build_choice_box(spec: FieldSpec) -> QComboBox:
    """Return a list of the values of a setting with their names and explanations."""
    box = QComboBox()
    box.setMinimumWidth(_WIDTH)
    box.setMaxVisibleItems(14)
    model = box.model()
    for index, choice in enumerate(spec.choices):
        name = get_choice_name(choice.value)
        box.addItem(name if choice.is_available else f"{name}  (not available yet)", choice.value)
        tip = choice.words or name
        box.setItemData(index, plain_tooltip(tip), Qt.ItemDataRole.ToolTipRole)
        if not choice.is_available and isinstance(model, QStandardItemModel):
            item = model.item(index)
            item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
    return box
