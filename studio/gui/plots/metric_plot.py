"""A small plot of one quantity with its name and its newest value above it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.core.units import UNKNOWN
from studio.gui.plots.canvas import PlotCanvas, find_nearest, keep_finite, paint_line
from studio.gui.widgets.labels import PlainLabel, plain_tooltip

Array = NDArray[np.float64]


class MetricPlot(QWidget):
    """One curve over the steps; the value is the newest one, or the one below the pointer."""

    def __init__(
        self,
        name: str,
        explanation: str,
        get_words: Callable[[float], str],
        *,
        starts_at_zero: bool = True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._get_words = get_words
        self._starts_at_zero = starts_at_zero
        self._steps = np.empty(0)
        self._values = np.empty(0)
        self._canvas = PlotCanvas(f"Plot of {name.lower()}")
        self._canvas.setMinimumHeight(48)
        self._canvas.hide_axes()
        self._line = self._canvas.add_line()
        self._name = PlainLabel(name, "muted", wraps=False)
        self._value = PlainLabel(UNKNOWN, "strong", wraps=False)
        self._name.setToolTip(plain_tooltip(explanation))
        top = QHBoxLayout()
        top.addWidget(self._name)
        top.addStretch(1)
        top.addWidget(self._value)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(top)
        layout.addWidget(self._canvas, 1)
        self._canvas.step_hovered.connect(self._on_canvas_step_hovered)
        self._canvas.colours_changed.connect(self._paint)
        self._paint()

    def show_values(self, steps: Array, values: Array) -> None:
        """Draws the curve; values that are not finite are left out."""
        self._steps, self._values = keep_finite(steps, values)
        self._line.setData(self._steps, self._values, skipFiniteCheck=True)
        if len(self._values):
            low = 0.0 if self._starts_at_zero else float(self._values.min())
            high = float(self._values.max())
            self._canvas.show_bounds(0.0, float(self._steps[-1]), low, high)
        self._on_canvas_step_hovered(None)

    def _paint(self) -> None:
        paint_line(self._line, self._canvas.colours.series[0], 1.5)

    def _on_canvas_step_hovered(self, step: float | None) -> None:
        index = len(self._steps) - 1 if step is None else find_nearest(self._steps, step)
        is_known = index is not None and index >= 0
        self._value.setText(self._get_words(float(self._values[index])) if is_known else UNKNOWN)
