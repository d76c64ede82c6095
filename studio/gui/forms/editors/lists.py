"""Editors of entries with settings of their own: files to validate on, exceptions by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from studio.core.recipe.fields import FieldSpec
from studio.gui.forms.editors.base import Editor
from studio.gui.forms.editors.numbers import DecimalSpinBox, PercentEditor, build_spin_box
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button, IconButton
from studio.gui.widgets.icon import Icon
from studio.gui.widgets.labels import ElidedLabel, PlainLabel

DATA_FILTER = (
    "Training data (*.jsonl *.json *.csv *.tsv *.parquet *.arrow *.txt *.md *.gz *.zst *.zip)"
    ";;All files (*)"
)


class RowsBox(QVBoxLayout):
    """A column of rows that is replaced as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.setContentsMargins(0, 0, 0, 0)
        self.setSpacing(SIZES.xs)

    def clear(self) -> None:
        """Takes all rows away."""
        while (item := self.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.setParent(None)
                widget.deleteLater()


class ShareOrFilesEditor(Editor):
    """Validation: a share of the training rows, or files of their own."""

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._files: list[dict[str, Any]] = []
        self._box = QComboBox()
        self._box.addItem("Share of the rows", "share")
        self._box.addItem("Files of their own", "files")
        self._box.activated.connect(self._on_way_chosen)
        self._share = PercentEditor(spec.alternative[0])
        self._share.edited.connect(lambda value: self.edited.emit({"fraction": value}))
        self._rows = RowsBox()
        self._add = Button("Add a file…", "plus")
        self._add.clicked.connect(self._on_add_clicked)
        self.add_target(self._box, spec.label)
        column = QVBoxLayout()
        column.setSpacing(SIZES.s)
        self.line.removeWidget(self._box)
        top = QHBoxLayout()
        top.setSpacing(SIZES.s)
        top.addWidget(self._box)
        top.addWidget(self._share)
        top.addStretch(1)
        column.addLayout(top)
        column.addLayout(self._rows)
        column.addWidget(self._add, 0, Qt.AlignmentFlag.AlignLeft)
        self.line.addLayout(column, 1)

    def show_value(self, value: Any) -> None:
        """Shows a share or a list of files."""
        is_share = isinstance(value, dict)
        self._files = [] if is_share else [dict(entry) for entry in value or ()]
        with QSignalBlocker(self._box):
            self._box.setCurrentIndex(0 if is_share else 1)
        if is_share:
            self._share.show_value(value.get("fraction", 0.05))
        self._share.setVisible(is_share)
        self._add.setVisible(not is_share)
        self._rows.clear()
        for index, entry in enumerate(self._files):
            self._rows.addWidget(self._build_row(index, str(entry.get("source", ""))))

    def _build_row(self, index: int, path: str) -> QWidget:
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        remove = IconButton("close", f"Take away {Path(path).name}")
        remove.clicked.connect(lambda: self._on_remove_clicked(index))
        line.addWidget(Icon("file"))
        line.addWidget(ElidedLabel(path), 1)
        line.addWidget(remove)
        return row

    def _on_way_chosen(self) -> None:
        is_share = self._box.currentData() == "share"
        value: Any = {"fraction": 0.05} if is_share else []
        self.show_value(value)
        self.edited.emit(value)

    def _on_add_clicked(self) -> None:
        paths, _filter = QFileDialog.getOpenFileNames(self, "Validation data", "", DATA_FILTER)
        if paths:
            self.edited.emit([*self._files, *({"source": path} for path in paths)])

    def _on_remove_clicked(self, index: int) -> None:
        self.edited.emit([entry for place, entry in enumerate(self._files) if place != index])


class OverridesEditor(Editor):
    """Another rank or alpha for the modules that match a pattern."""

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._specs = {item.name: item for item in spec.items}
        self._entries: list[dict[str, Any]] = []
        self._rows = RowsBox()
        self._empty = PlainLabel("None: every module has the rank and alpha above.", "caption")
        add = Button("Add an exception", "plus")
        add.clicked.connect(self._on_add_clicked)
        column = QVBoxLayout()
        column.setSpacing(SIZES.s)
        column.addWidget(self._empty)
        column.addLayout(self._rows)
        self.add_target(add, f"{spec.label}: add")
        self.line.removeWidget(add)
        column.addWidget(add, 0, Qt.AlignmentFlag.AlignLeft)
        self.line.addLayout(column, 1)

    def show_value(self, value: Any) -> None:
        """Shows a list of exceptions; rows being edited stay when nothing else changed."""
        entries = [dict(entry) for entry in value or ()]
        if entries == self._entries and self._rows.count() == len(entries):
            return
        self._entries = entries
        self._empty.setVisible(not entries)
        self._rows.clear()
        for index, entry in enumerate(entries):
            self._rows.addWidget(self._build_row(index, entry))

    def _build_row(self, index: int, entry: dict[str, Any]) -> QWidget:
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(SIZES.s)
        pattern = QLineEdit(str(entry.get("match", "")))
        pattern.setPlaceholderText("*.mlp.*")
        pattern.setAccessibleName(f"Exception {index + 1}: modules")
        pattern.textEdited.connect(lambda text: self._change(index, "match", text))
        rank = build_spin_box(self._specs["rank"])
        rank.setFixedWidth(84)
        rank.setAccessibleName(f"Exception {index + 1}: rank")
        rank.setValue(entry.get("rank") or 8)
        rank.valueChanged.connect(lambda value: self._change(index, "rank", value))
        alpha = DecimalSpinBox()
        alpha.setRange(0.01, 65536)
        alpha.setFixedWidth(84)
        alpha.setAccessibleName(f"Exception {index + 1}: alpha")
        alpha.setValue(entry.get("alpha") or 16)
        alpha.valueChanged.connect(lambda value: self._change(index, "alpha", value))
        remove = IconButton("close", f"Take away exception {index + 1}")
        remove.clicked.connect(lambda: self._on_remove_clicked(index))
        line.addWidget(pattern, 1)
        for label, box in (("rank", rank), ("alpha", alpha)):
            line.addWidget(PlainLabel(label, "caption", wraps=False))
            line.addWidget(box)
        line.addWidget(remove)
        return row

    def _change(self, index: int, name: str, value: Any) -> None:
        self._entries[index][name] = value
        self.edited.emit([dict(entry) for entry in self._entries])

    def _on_add_clicked(self) -> None:
        entries = [*self._entries, {"match": "*.mlp.*", "rank": 8, "alpha": 16.0}]
        self.show_value(entries)
        self.edited.emit(entries)

    def _on_remove_clicked(self, index: int) -> None:
        entries = [entry for place, entry in enumerate(self._entries) if place != index]
        self.show_value(entries)
        self.edited.emit(entries)
