"""Editors of numbers: whole, decimal, percent, on a logarithmic scale, and automatic ones."""

from __future__ import annotations

import math
import re
from typing import Any

from PySide6.QtCore import QLocale, QSignalBlocker, Qt
from PySide6.QtGui import QValidator
from PySide6.QtWidgets import QCheckBox, QDoubleSpinBox, QSizePolicy, QSlider, QSpinBox, QWidget

from studio.core.recipe.fields import FieldSpec
from studio.gui.forms.editors.base import Editor
from studio.gui.forms.words import format_number
from studio.gui.theme.tokens import SIZES

_LARGEST_COUNT = 2**31 - 1
_WIDTH = 108
_INDENT = 7
_PARTIAL = re.compile(r"[+-]?\d*[.,]?\d*(e[+-]?\d*)?", re.IGNORECASE)


class DecimalSpinBox(QDoubleSpinBox):
    """A spin box that writes numbers as short as possible and understands ``2e-4``."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDecimals(12)
        self.setKeyboardTracking(False)
        self.setLocale(QLocale.c())
        self.setFixedHeight(SIZES.control)
        self.lineEdit().setTextMargins(_INDENT, 0, 0, 0)

    def textFromValue(self, value: float) -> str:  # noqa: N802 - Qt's name
        """Returns the number without trailing zeros."""
        return format_number(value)

    def valueFromText(self, text: str) -> float:  # noqa: N802 - Qt's name
        """Returns the number that was typed; a comma counts as a point."""
        try:
            return float(self._strip(text))
        except ValueError:
            return self.value()

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """Accepts anything that is or can become a number."""
        bare = self._strip(text)
        try:
            value = float(bare)
        except ValueError:
            is_partial = _PARTIAL.fullmatch(bare) is not None
            state = QValidator.State.Intermediate if is_partial else QValidator.State.Invalid
            return (state, text, position)
        is_inside = self.minimum() <= value <= self.maximum()
        state = QValidator.State.Acceptable if is_inside else QValidator.State.Intermediate
        return (state, text, position)

    def _strip(self, text: str) -> str:
        return text.removesuffix(self.suffix()).strip().replace(",", ".")


class LogSpinBox(DecimalSpinBox):
    """A spin box whose arrows walk 1, 2, 3, 5, 7 through the powers of ten."""

    _STEPS = (1.0, 2.0, 3.0, 5.0, 7.0)

    def stepBy(self, steps: int) -> None:  # noqa: N802 - Qt's name
        """Goes to the next handy number up or down."""
        value = self.value()
        for _ in range(abs(steps)):
            value = self._get_next(value, upwards=steps > 0)
        self.setValue(value)

    def _get_next(self, value: float, *, upwards: bool) -> float:
        power = math.floor(math.log10(value)) if value > 0 else -12
        ladder = [step * 10.0**p for p in range(power - 1, power + 2) for step in self._STEPS]
        if upwards:
            return min(step for step in ladder if step > value * 1.001)
        return max(step for step in ladder if step < value * 0.999)


class IntegerEditor(Editor):
    """A whole number within its bounds."""

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._box = build_spin_box(spec)
        self._box.valueChanged.connect(self.edited.emit)
        self.add_target(self._box, spec.label)
        self.line.addStretch(1)

    def show_value(self, value: Any) -> None:
        """Shows a whole number."""
        with QSignalBlocker(self._box):
            self._box.setValue(_as_whole(value, self._box.minimum()))


class NumberEditor(Editor):
    """A decimal number within its bounds."""

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._box = DecimalSpinBox()
        self._box.setRange(_get_low(spec), spec.high if spec.high is not None else 1e9)
        self._box.setSingleStep(spec.step or 1.0)
        self._box.setFixedWidth(_WIDTH)
        self._box.valueChanged.connect(self.edited.emit)
        self.add_target(self._box, spec.label)
        self.line.addStretch(1)

    def show_value(self, value: Any) -> None:
        """Shows a decimal number."""
        with QSignalBlocker(self._box):
            self._box.setValue(_as_number(value, self._box.minimum()))


class PercentEditor(Editor):
    """A share of 1, shown in percent."""

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._box = DecimalSpinBox()
        self._box.setSuffix(" %")
        high = 100 * (spec.high if spec.high is not None else 1.0)
        self._box.setRange(100 * (spec.low or 0.0), high - 0.1 if spec.excludes_high else high)
        self._box.setSingleStep(100 * (spec.step or 0.01))
        self._box.setFixedWidth(_WIDTH)
        self._box.valueChanged.connect(lambda value: self.edited.emit(round(value / 100, 6)))
        self.add_target(self._box, spec.label)
        self.line.addStretch(1)

    def show_value(self, value: Any) -> None:
        """Shows a share."""
        with QSignalBlocker(self._box):
            self._box.setValue(round(100 * _as_number(value, 0.0), 4))


class LogNumberEditor(Editor):
    """A positive number that matters by its order of magnitude: a box and a slider."""

    _LOW_POWER, _HIGH_POWER, _TICKS = -6.0, -1.0, 50

    def __init__(self, spec: FieldSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._box = LogSpinBox()
        self._box.setRange(1e-9, spec.high if spec.high is not None else 1.0)
        self._box.setFixedWidth(_WIDTH)
        self._box.valueChanged.connect(self._on_box_changed)
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(0, round((self._HIGH_POWER - self._LOW_POWER) * self._TICKS))
        self._slider.setPageStep(self._TICKS // 2)
        self._slider.setMinimumWidth(90)
        self._slider.setMaximumWidth(220)
        self._slider.valueChanged.connect(self._on_slider_changed)
        self.add_target(self._box, spec.label)
        self.add_target(self._slider, f"{spec.label}, slider", 1)
        self.line.addStretch(1)

    def show_value(self, value: Any) -> None:
        """Shows a positive number in the box and on the slider."""
        number = _as_number(value, self._box.minimum())
        with QSignalBlocker(self._box):
            self._box.setValue(number)
        self._move_slider(number)

    def _on_box_changed(self, value: float) -> None:
        self._move_slider(value)
        self.edited.emit(value)

    def _on_slider_changed(self, tick: int) -> None:
        value = float(f"{10 ** (self._LOW_POWER + tick / self._TICKS):.2g}")
        with QSignalBlocker(self._box):
            self._box.setValue(value)
        self.edited.emit(value)

    def _move_slider(self, value: float) -> None:
        power = math.log10(value) if value > 0 else self._LOW_POWER
        with QSignalBlocker(self._slider):
            self._slider.setValue(round((power - self._LOW_POWER) * self._TICKS))


class AutomaticEditor(Editor):
    """A whole number, or a word that means "none" or "chosen by the program"."""

    def __init__(
        self,
        spec: FieldSpec,
        word: str,
        blank: Any,
        parent: QWidget | None = None,
        *,
        start: int = 100,
    ) -> None:
        super().__init__(parent)
        self._blank = blank
        self._start = start
        self._switch = QCheckBox(word)
        self._switch.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._box = build_spin_box(spec)
        self._switch.toggled.connect(self._on_switched)
        self._box.valueChanged.connect(self.edited.emit)
        self.add_target(self._box, spec.label)
        self.add_target(self._switch, f"{spec.label}: {word}")
        self.line.addStretch(1)

    def show_value(self, value: Any) -> None:
        """Shows a number, or the word when the value is the blank one."""
        is_blank = value == self._blank or isinstance(value, str)
        with QSignalBlocker(self._switch), QSignalBlocker(self._box):
            self._switch.setChecked(is_blank)
            if not is_blank:
                self._box.setValue(_as_whole(value, self._start))
        self._show_state(is_blank)

    def _show_state(self, is_blank: bool) -> None:
        self._box.setEnabled(not is_blank)
        self._box.setSpecialValueText(" " if is_blank else "")
        if is_blank:
            with QSignalBlocker(self._box):
                self._box.setValue(self._box.minimum())
        self.setFocusProxy(self._switch if is_blank else self._box)

    def _on_switched(self, is_blank: bool) -> None:
        self._show_state(is_blank)
        if is_blank:
            self.edited.emit(self._blank)
            return
        with QSignalBlocker(self._box):
            self._box.setValue(self._start)
        self.edited.emit(self._box.value())


def build_spin_box(spec: FieldSpec) -> QSpinBox:
    """Return a spin box for whole numbers within the bounds of a setting."""
    box = QSpinBox()
    box.setKeyboardTracking(False)
    box.setLocale(QLocale.c())
    low = 1 if spec.kind == "auto_count" else round(spec.low or 0)
    box.setRange(low, min(_LARGEST_COUNT, round(spec.high or _LARGEST_COUNT)))
    box.setSingleStep(round(spec.step or 1))
    box.setFixedSize(_WIDTH, SIZES.control)
    box.lineEdit().setTextMargins(_INDENT, 0, 0, 0)
    return box


def build_counter(name: str, width: int) -> QSpinBox:
    """Return a spin box for whole numbers from 1 that is no setting, named for screen readers."""
    box = QSpinBox()
    box.setKeyboardTracking(False)
    box.setLocale(QLocale.c())
    box.setRange(1, _LARGEST_COUNT)
    box.setFixedSize(width, SIZES.control)
    box.lineEdit().setTextMargins(_INDENT, 0, 0, 0)
    box.setAccessibleName(name)
    return box


def _get_low(spec: FieldSpec) -> float:
    if spec.low is None:
        return -1e9
    return spec.low + (min(spec.step or 0.01, 0.01) if spec.excludes_low else 0.0)


def _as_whole(value: Any, fallback: int) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return round(value) if is_number else fallback


def _as_number(value: Any, fallback: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else fallback
