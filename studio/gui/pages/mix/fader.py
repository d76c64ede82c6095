"""A slider for a strength in percent with its value beside it."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QSlider, QSpinBox, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.labels import ElidedLabel, plain_tooltip

_HIGHEST = 150
_TYPED = 300


class Fader(QWidget):
    """Name, slider and number; the number may be typed beyond the slider, also negative.

    Signals:
        changed: The strength is another one.
    """

    changed = Signal()

    def __init__(
        self, name: str, of: str = "", hint: str = "", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        label = ElidedLabel(name, "body" if of else "strong")
        label.setFixedWidth(160)
        full = f"{of}: {name}" if of else name
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(0, _HIGHEST)
        self._slider.setPageStep(10)
        self._slider.setAccessibleName(f"Strength of {full}")
        self._number = QSpinBox()
        self._number.setRange(-_TYPED, _TYPED)
        self._number.setSuffix(" %")
        self._number.setFixedWidth(96)
        self._number.lineEdit().setTextMargins(SIZES.s, 0, 0, 0)
        self._number.setAccessibleName(f"Strength of {full} in percent")
        for widget in (label, self._slider, self._number):
            if hint:
                widget.setToolTip(plain_tooltip(hint))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SIZES.m)
        row.addWidget(label)
        row.addWidget(self._slider, 1)
        row.addWidget(self._number)
        self.show_value(1.0)
        self._slider.valueChanged.connect(self._on_slider_changed)
        self._number.valueChanged.connect(self._on_number_changed)

    @property
    def value(self) -> float:
        """The strength; 1 is the adapter as trained."""
        return self._number.value() / 100

    def show_value(self, value: float) -> None:
        """Sets the strength."""
        self._number.setValue(round(value * 100))
        self._slider.setValue(round(value * 100))

    def _on_slider_changed(self, percent: int) -> None:
        is_beyond = not 0 <= self._number.value() <= _HIGHEST and percent in (0, _HIGHEST)
        if not is_beyond:
            self._number.setValue(percent)

    def _on_number_changed(self, percent: int) -> None:
        self._slider.setValue(max(0, min(_HIGHEST, percent)))
        self.changed.emit()
