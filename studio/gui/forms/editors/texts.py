"""Editors of texts: a line, a line with suggestions, a file or folder, a text per line."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSignalBlocker
from PySide6.QtWidgets import QComboBox, QFileDialog, QLineEdit, QPlainTextEdit, QWidget

from studio.core.recipe.fields import FieldSpec
from studio.gui.forms.editors.base import Editor
from studio.gui.widgets.buttons import IconButton

_LINES_HEIGHT = 84


class TextEditor(Editor):
    """One line of text; empty means none where the setting allows that."""

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._spec = spec
        self._field = QLineEdit()
        if spec.max_length is not None:
            self._field.setMaxLength(spec.max_length)
        if spec.is_optional:
            self._field.setPlaceholderText("none")
        self._field.textEdited.connect(self._on_edited)
        self.add_target(self._field, spec.label, 1)

    def show_value(self, value: Any) -> None:
        """Shows a text; the cursor stays where it is while it is the same."""
        text = "" if value is None else str(value)
        if text != self._field.text():
            self._field.setText(text)

    def _on_edited(self, text: str) -> None:
        is_none = self._spec.is_optional and not text.strip()
        self.edited.emit(None if is_none else text)


class FolderEditor(TextEditor):
    """A folder or file: typed, or chosen in a dialog."""

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(spec, parent)
        browse = IconButton("folder", f"Choose: {spec.label}")
        browse.clicked.connect(self._on_browse_clicked)
        self.line.addWidget(browse)

    def _on_browse_clicked(self) -> None:
        if self._spec.kind == "folder":
            path = QFileDialog.getExistingDirectory(self, self._spec.label)
        else:
            path, _filter = QFileDialog.getOpenFileName(self, self._spec.label)
        if path:
            self.show_value(path)
            self.edited.emit(path)


class SuggestionEditor(Editor):
    """A text that is often one of a few."""

    def __init__(
        self, spec: FieldSpec, suggestions: tuple[str, ...], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._box = QComboBox()
        self._box.setEditable(True)
        self._box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._box.setMinimumWidth(200)
        self._box.addItems(suggestions)
        self._box.editTextChanged.connect(self._on_edited)
        self.add_target(self._box, spec.label)
        self.line.addStretch(1)

    def show_value(self, value: Any) -> None:
        """Shows a text, or a list of numbers with commas."""
        is_list = isinstance(value, list | tuple)
        text = ", ".join(str(item) for item in value) if is_list else str(value)
        if text != self._box.currentText().strip():
            with QSignalBlocker(self._box):
                self._box.setEditText(text)

    def _on_edited(self, text: str) -> None:
        bare = text.strip()
        self.edited.emit(bare)


class LinesEditor(Editor):
    """Several texts, one per line; empty lines are left out."""

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._field = QPlainTextEdit()
        self._field.setFixedHeight(_LINES_HEIGHT)
        self._field.setTabChangesFocus(True)
        self._field.setPlaceholderText("One per line")
        if "*" in spec.later:
            self._field.setEnabled(False)
            self._field.setPlaceholderText("Not available yet")
        self._field.textChanged.connect(self._on_changed)
        self.add_target(self._field, spec.label, 1)

    def show_value(self, value: Any) -> None:
        """Shows a list of texts; the cursor stays where it is while they are the same."""
        texts = [str(text) for text in value or ()]
        if texts != self._read():
            with QSignalBlocker(self._field):
                self._field.setPlainText("\n".join(texts))

    def _read(self) -> list[str]:
        lines = self._field.toPlainText().splitlines()
        return [line.strip() for line in lines if line.strip()]

    def _on_changed(self) -> None:
        self.edited.emit(self._read())


class MappingEditor(Editor):
    """Pairs of texts on one line, such as ``prompt: question, completion: answer``."""

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._field = QLineEdit()
        self._field.setPlaceholderText("prompt: question, completion: answer")
        self._field.textEdited.connect(lambda text: self.edited.emit(parse_pairs(text)))
        self.add_target(self._field, spec.label, 1)

    def show_value(self, value: Any) -> None:
        """Shows pairs; the cursor stays where it is while they are the same."""
        pairs = dict(value or {})
        if pairs != parse_pairs(self._field.text()):
            self._field.setText(", ".join(f"{key}: {other}" for key, other in pairs.items()))


def parse_pairs(text: str) -> dict[str, str]:
    """Return the pairs written as ``a: b, c: d``; a part without a colon maps to nothing."""
    parts = [part.partition(":") for part in text.split(",") if part.strip()]
    return {key.strip(): value.strip() for key, _colon, value in parts}
