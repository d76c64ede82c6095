"""The head of one column: its name, how strongly it acts, and the way out."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSlider, QVBoxLayout, QWidget

from studio.gui.pages.compare.line_up import Column
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import IconButton
from studio.gui.widgets.labels import ElidedLabel, PlainLabel, plain_tooltip

_MOST_PERCENT = 150
_USUAL_PERCENT = 100
_SNAP_PERCENT = 3


class ColumnHead(QFrame):
    """Name, strength slider (adapters only) and a button to take the column out.

    Signals:
        removed: The column is to leave.
        strength_chosen: How strongly the adapter acts from now on, 1 as trained.
    """

    removed = Signal()
    strength_chosen = Signal(float)

    def __init__(self, column: Column, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "sunken")
        name = ElidedLabel(column.title, "strong")
        name.setToolTip(plain_tooltip(f"{column.title}\n{column.folder}".strip()))
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.m, SIZES.xs, SIZES.xs, SIZES.xs)
        box.setSpacing(0)
        top = QHBoxLayout()
        top.addWidget(name, 1)
        box.addLayout(top)
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._percent = PlainLabel("", "caption", wraps=False)
        if column.choice is None:
            words = ElidedLabel("Without any adapter", "caption", mode=Qt.TextElideMode.ElideRight)
            box.addWidget(words)
            name.setMinimumHeight(IconButton("close", "").sizeHint().height())
            return
        close = IconButton("close", f"Take out {column.name}")
        close.clicked.connect(self.removed)
        top.addWidget(close)
        box.addLayout(self._build_strength(column))

    def _build_strength(self, column: Column) -> QHBoxLayout:
        self._slider.setRange(0, _MOST_PERCENT)
        self._slider.setSingleStep(5)
        self._slider.setPageStep(25)
        self._slider.setValue(round(column.strength * 100))
        self._slider.setAccessibleName(f"Strength of {column.name}")
        self._slider.setToolTip(
            plain_tooltip(
                "How strongly the adapter changes the base: 0 % is the base itself, 100 % the "
                "adapter as it was trained. When you let go, the last prompt is answered again."
            )
        )
        self._slider.setMinimumWidth(60)
        self._slider.valueChanged.connect(self._on_slider_value_changed)
        self._slider.sliderReleased.connect(self._tell)
        self._percent.setFixedWidth(self._percent.fontMetrics().horizontalAdvance("150 %%"))
        self._percent.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, SIZES.s, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._percent)
        self._show_percent()
        return row

    def _on_slider_value_changed(self, value: int) -> None:
        if self._slider.isSliderDown():
            if value != _USUAL_PERCENT and abs(value - _USUAL_PERCENT) <= _SNAP_PERCENT:
                self._slider.setValue(_USUAL_PERCENT)
        else:
            self._tell()
        self._show_percent()

    def _show_percent(self) -> None:
        self._percent.setText(f"{self._slider.value()} %")

    def _tell(self) -> None:
        self.strength_chosen.emit(self._slider.value() / 100)
