"""Which column of a file holds the question and which the answer."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QGridLayout, QSizePolicy, QVBoxLayout, QWidget

from studio.core.events.types import SourceExamined
from studio.core.recipe.parts import FORMAT_PARTS
from studio.gui.forms.words import get_choice_name
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.fold import Fold
from studio.gui.widgets.labels import PlainLabel, plain_tooltip

_PARTS = {
    "prompt": ("Question", "The column whose text is asked."),
    "answer": ("Expected answer", "The column with the text that a good answer would be."),
}
_BY_ITSELF = "Found by itself"


class ColumnsRow(QWidget):
    """Says how a file is read; opens where that is not clear, so that the user can say it.

    Signals:
        changed: Other columns are chosen, or a file was looked at.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_clear = True
        self._words = PlainLabel("", "muted")
        self._fold = Fold("Choose the columns", "the data file")
        self._boxes: dict[str, QComboBox] = {}
        grid = QGridLayout()
        grid.setHorizontalSpacing(SIZES.m)
        grid.setVerticalSpacing(SIZES.s)
        grid.setColumnStretch(1, 1)
        for row, (part, (name, help_text)) in enumerate(_PARTS.items()):
            box = QComboBox()
            box.setAccessibleName(f"Column for: {name}")
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            box.setMinimumContentsLength(12)
            box.activated.connect(lambda _: self.changed.emit())
            label = PlainLabel(name, wraps=False)
            for widget in (box, label):
                widget.setToolTip(plain_tooltip(help_text))
            grid.addWidget(label, row, 0)
            grid.addWidget(box, row, 1)
            self._boxes[part] = box
        self._fold.body.addLayout(grid)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(SIZES.xs)
        outer.addWidget(self._words)
        outer.addWidget(self._fold)
        self.forget()

    @property
    def columns(self) -> dict[str, str]:
        """The columns as the user chose them; empty where the file is read by itself."""
        chosen = {part: str(box.currentData() or "") for part, box in self._boxes.items()}
        return chosen if all(chosen.values()) else {}

    @property
    def obstacle(self) -> str:
        """What is to be chosen before the file can be read, empty for nothing."""
        is_chosen = [bool(box.currentData()) for box in self._boxes.values()]
        if all(is_chosen):
            return ""
        if any(is_chosen) or not self._is_clear:
            return "Choose the columns with the question and with the expected answer."
        return ""

    def show_waiting(self) -> None:
        """Says that a file is being looked at."""
        self.forget()
        self._words.setText("Looking at the file …")
        self.show()

    def forget(self) -> None:
        """Forgets the file; nothing is shown."""
        self._is_clear = True
        for box in self._boxes.values():
            box.clear()
        self._fold.hide()
        self.hide()

    def show_found(self, found: SourceExamined) -> None:
        """Shows how a file is read, or that the user must say it."""
        self._is_clear = bool(found.format) or not found.found_columns
        self._words.setText(_describe(found))
        options = [option.columns for option in found.options if set(option.columns) == set(_PARTS)]
        first = options[0] if options and not self._is_clear else {}
        for part, box in self._boxes.items():
            box.clear()
            box.addItem(_BY_ITSELF if self._is_clear else "Choose a column", "")
            for column in found.found_columns:
                box.addItem(column.name[:60], column.name)
                tip = plain_tooltip(f"{column.kind}: {column.example}")
                box.setItemData(box.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
            box.setCurrentIndex(max(0, box.findData(first.get(part, ""))))
        self._fold.setVisible(bool(found.found_columns))
        self._fold.show_open(not self._is_clear)
        self.show()
        self.changed.emit()


def _describe(found: SourceExamined) -> str:
    if not found.format:
        if found.certainty == "unreadable" or not found.found_columns:
            return f"{found.message} {found.remedy}".strip()
        if found.options:
            return "Several columns could be meant. Please check the choice below."
        return "It is not clear which column is asked and which one is the answer. Please choose."
    labels = {part.key: part.label.lower() for part in FORMAT_PARTS.get(found.format, ())}
    parts = ", ".join(f"{labels.get(key, key)} from “{one}”" for key, one in found.columns.items())
    words = f"Read as: {get_choice_name(found.format).lower()}"
    return f"{words} ({parts})." if parts else f"{words}."
