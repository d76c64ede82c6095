"""The less common settings of one training file, and of what is held back for validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.recipe.fields import get_field_table
from studio.gui.forms.row import FieldRow
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import PlainLabel

_ELSEWHERE = ("source", "format", "columns", "enabled", "fill")


class SourceDialog(QDialog):
    """Part, row limit and weight of a file; nothing changes until it is applied.

    Signals:
        source_edited: All settings of the file, after Apply.
    """

    source_edited = Signal(object)

    def __init__(self, source: Mapping[str, Any], name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Settings of {name}")
        self.setMinimumWidth(560)
        self._source = dict(source)
        apply = Button("&Apply", kind="primary")
        apply.setDefault(True)
        apply.clicked.connect(self._on_apply_clicked)
        cancel = Button("&Cancel")
        cancel.clicked.connect(self.reject)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.xl, SIZES.l, SIZES.xl, SIZES.l)
        box.setSpacing(SIZES.l)
        box.addWidget(PlainLabel(name, "heading"))
        for spec in get_field_table()["data.train"].items:
            if spec.name in _ELSEWHERE:
                continue
            row = FieldRow(spec)
            row.show_value(self._source.get(spec.name, spec.default))
            row.edited.connect(self._on_row_edited)
            box.addWidget(row)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(apply)
        box.addLayout(buttons)

    def _on_row_edited(self, path: str, value: Any) -> None:
        self._source[path.rpartition(".")[2]] = value

    def _on_apply_clicked(self) -> None:
        self.source_edited.emit(self._source)
        self.accept()


class ValidationDialog(QDialog):
    """What the run measures on; nothing changes until it is applied.

    Signals:
        validation_edited: A share of the rows, or files of their own, after Apply.
    """

    validation_edited = Signal(object)

    def __init__(self, value: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Validation rows")
        self.setMinimumWidth(560)
        self._value = value
        self._row = FieldRow(get_field_table()["data.validation"])
        self._row.show_value(value)
        self._row.edited.connect(self._on_row_edited)
        apply = Button("&Apply", kind="primary")
        apply.setDefault(True)
        apply.clicked.connect(self._on_apply_clicked)
        cancel = Button("&Cancel")
        cancel.clicked.connect(self.reject)
        words = "Rows that are only measured on. They show whether the model learns or memorises."
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(apply)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.xl, SIZES.l, SIZES.xl, SIZES.l)
        box.setSpacing(SIZES.l)
        box.addWidget(PlainLabel(words))
        box.addWidget(self._row)
        box.addLayout(buttons)

    def _on_row_edited(self, _path: str, value: Any) -> None:
        self._value = value
        self._row.show_value(value)

    def _on_apply_clicked(self) -> None:
        self.validation_edited.emit(self._value)
        self.accept()
