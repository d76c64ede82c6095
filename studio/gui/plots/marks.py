"""A canvas on which single steps can be marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from studio.gui.plots.canvas import PlotCanvas

_REACH_PIXELS = 8


class MarkedCanvas(PlotCanvas):
    """Draws an upright line at each marked step."""

    def __init__(self, name: str = "Plot", parent: QWidget | None = None) -> None:
        super().__init__(name, parent)
        self._marks: list[Any] = []

    def show_marks(self, steps: Sequence[int], colour: str) -> None:
        """Marks ``steps`` in place of the ones before."""
        for line in self._marks:
            self._plot.removeItem(line)
        pen = pg.mkPen(colour, width=1, style=Qt.PenStyle.DashLine)
        self._marks = [pg.InfiniteLine(step, angle=90, movable=False, pen=pen) for step in steps]
        for line in self._marks:
            self._plot.addItem(line, ignoreBounds=True)

    def get_reach(self) -> float:
        """Returns how many steps lie within a few pixels of the pointer."""
        return float(self._view.viewPixelSize()[0]) * _REACH_PIXELS
