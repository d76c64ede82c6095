"""How long the rows are, and a line that can be dragged to where they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.gui.plots.canvas import PlotCanvas

_STEP_FRACTION = 0.01
_NAMED_AXIS_WIDTH = 66


class BarCanvas(PlotCanvas):
    """A canvas with bars, an upright line to drag, and names beside its axes."""

    def add_bars(self) -> Any:
        """Returns new bars, without any yet."""
        bars = pg.BarGraphItem(x=[], height=[], width=1)
        self._plot.addItem(bars, ignoreBounds=True)
        return bars

    def add_handle(self) -> Any:
        """Returns an upright line that the user can drag sideways."""
        line = pg.InfiniteLine(angle=90, movable=True)
        line.setCursor(Qt.CursorShape.SizeHorCursor)
        self._plot.addItem(line, ignoreBounds=True)
        return line

    def show_axis_names(self, bottom: str, left: str) -> None:
        """Writes what the axes count beside them."""
        self._plot.setLabel("bottom", bottom)
        self._plot.setLabel("left", left)
        self._plot.getAxis("left").setWidth(_NAMED_AXIS_WIDTH)


class LengthPlot(QWidget):
    """Bars of rows by length; those beyond the line are hatched.

    Signals:
        limit_moved: The tokens at the line while it is dragged.
        limit_chosen: The tokens where the line was let go, or put by the arrow keys.
    """

    limit_moved = Signal(int)
    limit_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._edges: np.ndarray = np.zeros(0)
        self._rows: np.ndarray = np.zeros(0)
        self._canvas = BarCanvas()
        self._canvas.show_axis_names("tokens in a row", "rows")
        self._canvas.colours_changed.connect(self._paint)
        self._whole = self._canvas.add_bars()
        self._beyond = self._canvas.add_bars()
        self._line = self._canvas.add_handle()
        self._line.sigDragged.connect(lambda: self._on_line_dragged(is_over=False))
        self._line.sigPositionChangeFinished.connect(lambda: self._on_line_dragged(is_over=True))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._canvas.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Lengths of the rows; the arrow keys move the limit")
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self._canvas)

    @property
    def limit(self) -> int:
        """Where the line stands, in tokens."""
        return max(1, round(float(self._line.value())))

    def show_lengths(self, edges: Sequence[int], rows: Sequence[int], limit: int) -> None:
        """Shows other bars, ``len(edges)`` being one more than ``len(rows)``, and the line."""
        self._edges, self._rows = np.asarray(edges, float), np.asarray(rows, float)
        if len(self._rows):
            right = max(float(self._edges[-1]), limit * 1.02)
            self._canvas.show_bounds(0.0, right, 0.0, float(self._rows.max()))
            self._line.setBounds((1, right))
        self.show_limit(limit)

    def show_limit(self, limit: int) -> None:
        """Puts the line to a number of tokens."""
        self._line.blockSignals(True)
        self._line.setValue(limit)
        self._line.blockSignals(False)
        self._paint()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Moves the line with the left and right arrow keys; Shift makes larger steps."""
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        step = steps.get(Qt.Key(event.key()))
        if step is None or not len(self._rows):
            super().keyPressEvent(event)
            return
        size = max(1, round(float(self._edges[-1]) * _STEP_FRACTION))
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            size *= 10
        self.show_limit(max(1, min(self.limit + step * size, int(self._edges[-1]))))
        self.limit_chosen.emit(self.limit)

    def _on_line_dragged(self, *, is_over: bool) -> None:
        self._paint()
        (self.limit_chosen if is_over else self.limit_moved).emit(self.limit)

    def _paint(self) -> None:
        colours = self._canvas.colours
        self._line.setPen(pg.mkPen(colours.error, width=2))
        self._line.setHoverPen(pg.mkPen(colours.error, width=4))
        if not len(self._rows):
            return
        widths = np.diff(self._edges)
        centres = self._edges[:-1] + widths / 2
        is_beyond = centres > self.limit
        for bars, chosen, style, colour in (
            (self._whole, ~is_beyond, Qt.BrushStyle.SolidPattern, colours.accent),
            (self._beyond, is_beyond, Qt.BrushStyle.BDiagPattern, colours.error),
        ):
            brush = pg.mkBrush(colour)
            brush.setStyle(style)
            bars.setOpts(
                x=centres[chosen],
                height=self._rows[chosen],
                width=widths[chosen] * 0.92,
                brush=brush,
                pen=pg.mkPen(colour),
            )
