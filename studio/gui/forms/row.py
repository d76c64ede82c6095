"""One setting on the form: its label, editor, unit, explanation, and what is wrong with it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.recipe.fields import FieldSpec
from studio.core.recipe.problem import Problem
from studio.gui.forms.editors.build import build_editor
from studio.gui.forms.words import format_value
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import IconButton
from studio.gui.widgets.labels import PlainLabel, allow_breaks, plain_tooltip

LABEL_WIDTH = 136
_WIDE = ("section_list",)


class FieldRow(QWidget):
    """A setting drawn from its declaration in the schema.

    Signals:
        edited: The dotted path and the new value.
    """

    edited = Signal(str, object)

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.spec = spec
        self._has_hint = spec.level == "essential" and not spec.choices
        self._editor = build_editor(spec)
        self._editor.describe(spec.help)
        self._editor.edited.connect(lambda value: self.edited.emit(spec.path, value))
        self._label = PlainLabel(spec.label)
        self._reset = self._build_reset_button()
        self._value: Any = spec.default
        self._problem = PlainLabel("", "error")
        self._problem.hide()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(SIZES.m)
        grid.setVerticalSpacing(SIZES.xs)
        top = Qt.AlignmentFlag.AlignTop
        grid.addWidget(self._build_label(), 0, 0, top)
        if spec.kind in _WIDE:
            grid.addWidget(self._editor, 1, 0, 1, 2)
        else:
            grid.addWidget(self._editor, 0, 1, top)
        if spec.unit:
            self._editor.show_unit(spec.unit)
        is_wide = spec.kind in _WIDE
        grid.addLayout(self._build_notes(), 2, 0 if is_wide else 1, 1, 2 if is_wide else 1)
        grid.setColumnStretch(1, 1)

    @property
    def is_changed(self) -> bool:
        """Whether the value is another than the default."""
        return is_changed(self.spec, self._value)

    def show_value(self, value: Any) -> None:
        """Shows a value of the recipe, and whether it is the default."""
        self._value = value
        self._editor.show_value(value)
        self._reset.setVisible(self.is_changed)
        self._label.set_role("strong" if self.is_changed else "body")

    def show_problems(self, problems: Sequence[Problem]) -> None:
        """Shows the worst problem of this setting beside its editor, or none."""
        order = ("error", "warning", "note")
        worst = min(problems, key=lambda p: order.index(p.severity), default=None)
        self._problem.setVisible(worst is not None)
        self._editor.show_severity("" if worst is None else worst.severity)
        if worst is None:
            return
        message = worst.message[:1].upper() + worst.message[1:]
        self._problem.setText(allow_breaks(f"{message} {worst.remedy}".strip()))
        by_severity = {"error": "error", "warning": "warning", "note": "caption"}
        self._problem.set_role(by_severity[worst.severity])  # type: ignore[arg-type]  # three roles

    def focus_editor(self) -> None:
        """Puts the keyboard focus into the editor."""
        self._editor.setFocus(Qt.FocusReason.OtherFocusReason)

    def _build_label(self) -> QWidget:
        label = self._label
        label.setMinimumHeight(SIZES.control)
        label.setBuddy(self._editor)
        box = QWidget()
        box.setFixedWidth(LABEL_WIDTH)
        line = QHBoxLayout(box)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(0)
        line.addWidget(label, 1)
        line.addWidget(self._reset, 0, Qt.AlignmentFlag.AlignVCenter)
        if not self._has_hint:
            line.addWidget(self._build_help_button(), 0, Qt.AlignmentFlag.AlignVCenter)
        return box

    def _build_reset_button(self) -> IconButton:
        default = format_value(self.spec.default)
        button = IconButton("undo", f"Back to the default: {default}")
        button.setAccessibleName(f"{self.spec.label}: back to the default, {default}")
        button.clicked.connect(
            lambda: self.edited.emit(self.spec.path, copy.deepcopy(self.spec.default))
        )
        button.hide()
        return button

    def _build_help_button(self) -> IconButton:
        button = IconButton("note", f"About {self.spec.label}")
        button.setToolTip(plain_tooltip(self.spec.help))
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.setCursor(Qt.CursorShape.WhatsThisCursor)
        return button

    def _build_notes(self) -> QVBoxLayout:
        notes = QVBoxLayout()
        notes.setSpacing(2)
        notes.addWidget(self._problem)
        if self._has_hint:
            notes.addWidget(PlainLabel(self.spec.help, "caption"))
        return notes


def is_changed(spec: FieldSpec, value: Any) -> bool:
    """Return whether a value is another than the default; a name is everybody's own."""
    return spec.path != "name" and value != spec.default
