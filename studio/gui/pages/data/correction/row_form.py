"""All fields of one row as a form, those that are read first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from studio.core.recipe.parts import FORMAT_PARTS
from studio.gui.pages.data.correction.field_editors import FieldEditor, build_field
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.labels import PlainLabel, allow_breaks
from studio.gui.widgets.scroll import build_scroll_area

_TYPING_MS = 400
_MOST_OTHERS = 24


class RowForm(QWidget):
    """Shows the fields of a row.

    Signals:
        edited: The fields as a mapping, or why they are not sound, a text; after typing rested.
    """

    edited = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: dict[str, Any] = {}
        self._fields: dict[str, FieldEditor] = {}
        self._area: QScrollArea | None = None
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(_TYPING_MS)
        self._typing.timeout.connect(self.tell)
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)

    def show_row(
        self, values: Mapping[str, Any], format_key: str, columns: Mapping[str, str]
    ) -> None:
        """Shows other fields; ``columns`` say which of them play a part in the format."""
        self._typing.stop()
        self._values, self._fields = dict(values), {}
        labels = find_labels(values, format_key, columns)
        form = QVBoxLayout()
        form.setContentsMargins(0, 0, SIZES.s, 0)
        form.setSpacing(SIZES.xs)
        for name in labels:
            self._add(form, name, labels[name])
        others = [name for name in values if name not in labels]
        if others:
            form.addSpacing(SIZES.s)
            words = "Other columns: not read, they go into the copy as they are here."
            form.addWidget(PlainLabel(words, "caption"))
        for name in others[:_MOST_OTHERS]:
            self._add(form, name, "")
        if len(others) > _MOST_OTHERS:
            rest = f"{len(others) - _MOST_OTHERS:,} more columns stay as they are."
            form.addWidget(PlainLabel(rest, "caption"))
        form.addStretch(1)
        if self._area is not None:
            self._box.removeWidget(self._area)
            self._area.hide()
            self._area.deleteLater()
        self._area = build_scroll_area(form)
        self._box.addWidget(self._area)
        if self._fields:
            next(iter(self._fields.values())).setFocus(Qt.FocusReason.OtherFocusReason)

    def tell(self) -> None:
        """Tells the fields as they are now."""
        self._typing.stop()
        try:
            read = {name: field.read_value() for name, field in self._fields.items()}
        except ValueError as error:
            self.edited.emit(str(error))
            return
        self.edited.emit({**self._values, **read})

    @property
    def is_typing(self) -> bool:
        """True while something was typed that is not told yet."""
        return self._typing.isActive()

    def _add(self, form: QVBoxLayout, name: str, part: str) -> None:
        field = build_field(name, self._values[name])
        field.edited.connect(self._typing.start)
        words = name if not part or part.lower() == name.lower() else f"{name} · {part}"
        label = PlainLabel(allow_breaks(words), "strong")
        label.setBuddy(field)
        form.addWidget(label)
        form.addWidget(field)
        self._fields[name] = field


def find_labels(
    values: Mapping[str, Any], format_key: str, columns: Mapping[str, str]
) -> dict[str, str]:
    """Return the columns that are read and the name of the part that each of them plays."""
    names = {part.key: part.label for part in FORMAT_PARTS.get(format_key, ())}
    found: dict[str, str] = {}
    for part, column in columns.items():
        inside = [column] if column in values else [n for n in values if f"{{{n}}}" in column]
        for name in inside:
            found.setdefault(name, names.get(part, part))
    return found
