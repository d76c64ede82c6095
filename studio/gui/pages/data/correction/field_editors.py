"""Editors of the fields of one row: texts, conversations turn by turn, anything else as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QPlainTextEdit,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from studio.gui.forms.editors.lists import RowsBox
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button, IconButton
from studio.gui.widgets.labels import PlainLabel

SPEAKERS = (("role", "content"), ("from", "value"))
"""The keys of who speaks and of what is said in each of the two ways to write turns."""
_ROLES = {
    "role": ("system", "user", "assistant", "tool"),
    "from": ("system", "human", "gpt", "tool"),
}
_MOST_LINES = 12


class GrowingText(QPlainTextEdit):
    """A text of as many lines as it has, up to twelve."""

    def __init__(self, name: str, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setTabChangesFocus(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setPlainText(text)
        # Text dropped from files would be their address.
        self.setAcceptDrops(False)
        self.textChanged.connect(self._fit)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Becomes as high as the lines need at the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        most = _MOST_LINES * self.fontMetrics().lineSpacing()
        height, block = 2 * self.document().documentMargin(), self.document().firstBlock()
        while block.isValid() and height < most:
            height += self.blockBoundingRect(block).height()
            block = block.next()
        around = max(2 * SIZES.s, self.height() - self.viewport().height())
        wanted = math.ceil(min(height, most)) + around
        if self.height() != wanted:
            self.setFixedHeight(wanted)


class FieldEditor(QWidget):
    """One field of a row.

    Signals:
        edited: The value is another one, or is not sound any more.
    """

    edited = Signal()

    def read_value(self) -> Any:
        """Return the value as it was typed.

        Raises:
            ValueError: What was typed is not sound; the text says why.
        """
        raise NotImplementedError


class TextField(FieldEditor):
    """A text."""

    def __init__(self, name: str, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = GrowingText(name, text)
        self._text.textChanged.connect(self.edited)
        _fill(self, self._text)

    def read_value(self) -> str:
        """Return the text."""
        return self._text.toPlainText()


class JsonField(FieldEditor):
    """A number, a list, an object, nothing: written as JSON."""

    def __init__(self, name: str, value: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        text = json.dumps(value, ensure_ascii=False, indent=2)
        self._name = name
        self._text = GrowingText(name, text)
        self._text.textChanged.connect(self.edited)
        _fill(self, self._text)

    def read_value(self) -> Any:
        """Return what the JSON says.

        Raises:
            ValueError: It is not JSON.
        """
        try:
            return json.loads(self._text.toPlainText())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self._name} is not valid JSON: {error}") from error


class TurnsField(FieldEditor):
    """A conversation: who says what, turn by turn; other keys of a turn stay as they are."""

    def __init__(self, turns: list[dict[str, Any]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        speaker = next((one for one in SPEAKERS if one[0] in turns[0]), SPEAKERS[0])
        self._speaker, self._said = speaker
        self._rows: list[_TurnRow] = []
        self._box = RowsBox()
        add = Button("Add a turn", "plus", "quiet")
        add.clicked.connect(self._on_add_clicked)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.s)
        box.addLayout(self._box)
        box.addWidget(add)
        for turn in turns:
            self._add(turn)
        self.setFocusProxy(self._rows[0])

    def read_value(self) -> list[dict[str, Any]]:
        """Return the turns.

        Raises:
            ValueError: There is none, or one is not sound.
        """
        if not self._rows:
            raise ValueError("A conversation has at least one turn.")
        return [row.read_value() for row in self._rows]

    def _add(self, turn: dict[str, Any]) -> None:
        row = _TurnRow(turn, self._speaker, self._said, len(self._rows) + 1)
        row.edited.connect(self.edited)
        row.removed.connect(lambda: self._on_row_removed(row))
        self._rows.append(row)
        self._box.addWidget(row)

    def _on_add_clicked(self) -> None:
        roles = _ROLES[self._speaker]
        last = self._rows[-1].role if self._rows else ""
        self._add({self._speaker: roles[1 if last == roles[2] else 2], self._said: ""})
        self._rows[-1].setFocus(Qt.FocusReason.OtherFocusReason)
        self.edited.emit()

    def _on_row_removed(self, row: _TurnRow) -> None:
        self._rows.remove(row)
        self.setFocusProxy(self._rows[0] if self._rows else None)  # type: ignore[arg-type]  # Qt takes none
        self._box.removeWidget(row)
        row.hide()
        row.deleteLater()
        self.edited.emit()


class _TurnRow(QWidget):
    """One turn."""

    edited = Signal()
    removed = Signal()

    def __init__(self, turn: dict[str, Any], speaker: str, said: str, number: int) -> None:
        super().__init__()
        self._turn, self._speaker, self._said = turn, speaker, said
        self._role = QComboBox()
        self._role.setAccessibleName(f"Who speaks in turn {number}")
        self._role.setMinimumWidth(104)
        self._show_role(str(turn.get(speaker, "")))
        self._role.activated.connect(lambda _: self.edited.emit())
        self._is_text = isinstance(turn.get(said), str)
        name = f"What is said in turn {number}"
        others = {key: value for key, value in turn.items() if key not in (speaker, said)}
        self._content: FieldEditor = (
            TextField(name, turn[said]) if self._is_text else JsonField(name, self._rest(turn))
        )
        self._content.edited.connect(self.edited)
        remove = IconButton("close", f"Take turn {number} away")
        remove.clicked.connect(self.removed)
        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addWidget(self._content)
        if self._is_text and others:
            texts.addWidget(PlainLabel(f"Also there: {', '.join(others)}", "caption"))
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(SIZES.s)
        line.addWidget(self._role, 0, Qt.AlignmentFlag.AlignTop)
        line.addLayout(texts, 1)
        line.addWidget(remove, 0, Qt.AlignmentFlag.AlignTop)
        self.setFocusProxy(self._content)

    @property
    def role(self) -> str:
        return self._role.currentText()

    def read_value(self) -> dict[str, Any]:
        value = self._content.read_value()
        if self._is_text:
            return {**self._turn, self._speaker: self.role, self._said: value}
        if not isinstance(value, Mapping):
            raise ValueError(f"A turn is an object with {self._speaker} and {self._said}.")
        return {self._speaker: self.role, **value}

    def _rest(self, turn: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in turn.items() if key != self._speaker}

    def _show_role(self, role: str) -> None:
        roles = list(_ROLES[self._speaker])
        with QSignalBlocker(self._role):
            self._role.addItems(roles if role in roles or not role else [*roles, role])
            self._role.setCurrentText(role or roles[1])


def build_field(name: str, value: Any) -> FieldEditor:
    """Return the editor for a value of a row."""
    if isinstance(value, str):
        return TextField(name, value)
    if is_conversation(value):
        return TurnsField(value)
    return JsonField(name, value)


def is_conversation(value: Any) -> bool:
    """Return whether a value is a list of turns, each with who speaks."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) for turn in value)
        and any(all(key in turn for turn in value) for key, _ in SPEAKERS)
    )


def _fill(field: QWidget, editor: QWidget) -> None:
    box = QVBoxLayout(field)
    box.setContentsMargins(0, 0, 0, 0)
    box.addWidget(editor)
    field.setFocusProxy(editor)
