"""The drawing surface below every plot: axes, zoom, fit, crosshair, colours of the theme."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.gui.theme.tokens import Colours, colours_of

Array = NDArray[np.float64]
# Without segmented lines one antialiased repaint of a noisy 100,000-point curve takes a second.
pg.setConfigOptions(antialias=True, segmentedLineMode="on")

_MARGIN_FRACTION = 0.06
_RIGHT_FRACTION = 0.012
_ZOOM_STEP = 0.8
_PAN_STEP = 0.15
_POINTS_PER_PIXEL = 2.0
_AXIS_WIDTH = 46


class PlotCanvas(QWidget):
    """Axes that follow the data until the user zooms or drags, and follow again after ``fit``.

    ``name`` tells those who cannot see the plot what it shows.

    Signals:
        step_hovered: The x value below the pointer, or None when the pointer left.
        following_changed: True while the whole curve is shown, False after zoom or drag.
        colours_changed: The theme changed; curves want other pens.
    """

    step_hovered = Signal(object)
    following_changed = Signal(bool)

    colours_changed = Signal(object)

    def __init__(self, name: str = "Plot", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._colours = colours_of(self)
        self._is_following = True
        self._is_log = False
        self._bounds: tuple[float, float, float, float] | None = None
        self._view = _View()
        self._plot = pg.PlotWidget(viewBox=self._view)
        self._plot.setFrameShape(self._plot.Shape.NoFrame)
        self._plot.setMenuEnabled(False)
        self._plot.hideButtons()
        # Only the canvas is reached by Tab and spoken of; what lies in it is drawing.
        self._plot.viewport().setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._plot.setAccessibleName(name)
        self.setAccessibleName(name)
        self.setAccessibleDescription("Plus and minus zoom, arrow keys move, Home shows all")
        self._plot.getAxis("left").setWidth(_AXIS_WIDTH)
        self._cursor = pg.InfiniteLine(angle=90, movable=False)
        self._cursor.setVisible(False)
        self._plot.addItem(self._cursor, ignoreBounds=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plot)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._view.sigRangeChangedManually.connect(self._on_view_moved)
        self._view.double_clicked.connect(self.fit)
        self._plot.scene().sigMouseMoved.connect(self._on_mouse_moved)
        self._paint_colours()

    @property
    def colours(self) -> Colours:
        """The colours of the theme the plot is shown in."""
        return self._colours

    @property
    def is_following(self) -> bool:
        """True while new points widen the view."""
        return self._is_following

    def add_line(self, *, is_smooth: bool = False) -> Any:
        """Returns a new empty line; raw ones are drawn in peaks and without antialiasing.

        The bounds of a line never move the view; ``show_bounds`` does.
        """
        line = pg.PlotDataItem(antialias=is_smooth)
        self._plot.addItem(line, ignoreBounds=True)
        # Only now: a plot gives every item its own settings when it takes it in. Peaks keep each
        # spike of raw values; the average of a smoothed curve looks the same and costs less.
        line.setDownsampling(auto=True, method="mean" if is_smooth else "peak")
        line.opts["autoDownsampleFactor"] = _POINTS_PER_PIXEL
        line.setClipToView(True)
        return line

    def add_points(self, symbol: str, size: int) -> Any:
        """Returns a new empty row of marks."""
        points = pg.PlotDataItem(pen=None, symbol=symbol, symbolSize=size, antialias=True)
        self._plot.addItem(points, ignoreBounds=True)
        return points

    def remove_item(self, item: Any) -> None:
        """Takes a plot item away."""
        self._plot.removeItem(item)

    def hide_axes(self) -> None:
        """Leaves only the curve and its grid, for small plots that say their value in words."""
        self._plot.hideAxis("left")
        self._plot.hideAxis("bottom")

    def show_log_scale(self, is_log: bool) -> None:
        """Switches the y axis between linear and logarithmic."""
        self._is_log = is_log
        self._plot.setLogMode(x=False, y=is_log)
        self._apply_bounds()

    def show_bounds(self, left: float, right: float, low: float, high: float) -> None:
        """Declares what there is to see; moves the view only while it follows."""
        self._bounds = (left, right, low, high)
        if self._is_following:
            self._apply_bounds()

    def fit(self) -> None:
        """Shows everything and follows new points again."""
        self._set_following(True)
        self._apply_bounds()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Zooms with + and -, pans with the arrow keys, fits with Home."""
        key = event.key()
        if key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self._view.scaleBy((_ZOOM_STEP, 1))
        elif key == Qt.Key.Key_Minus:
            self._view.scaleBy((1 / _ZOOM_STEP, 1))
        elif key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            width = self._view.viewRect().width()
            sign = 1 if key == Qt.Key.Key_Right else -1
            self._view.translateBy(x=sign * width * _PAN_STEP)
        elif key == Qt.Key.Key_Home:
            self.fit()
            return
        else:
            super().keyPressEvent(event)
            return
        self._set_following(False)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Takes over the colours of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and colours_of(self) != self._colours:
            self._colours = colours_of(self)
            self._paint_colours()
            self.colours_changed.emit(self._colours)

    def _paint_colours(self) -> None:
        self._plot.setBackground(self._colours.window)
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setPen(pg.mkPen(self._colours.border_strong))
            axis.setTextPen(pg.mkPen(self._colours.muted))
            # Lines at minor ticks would double the time of a repaint and say nothing.
            axis.setStyle(tickLength=0, maxTickLevel=0)
        self._plot.showGrid(x=True, y=True, alpha=0.18)
        pen = pg.mkPen(self._colours.muted, width=1, style=Qt.PenStyle.DashLine)
        self._cursor.setPen(pen)

    def _apply_bounds(self) -> None:
        if self._bounds is None or not self._is_following:
            return
        left, right, low, high = self._bounds
        if self._is_log:
            low, high = np.log10(max(low, 1e-12)), np.log10(max(high, 1e-12))
        right = max(right, left + 1)
        right += (right - left) * _RIGHT_FRACTION
        span = high - low
        pad = span * _MARGIN_FRACTION if span > 0 else max(abs(high) * 0.1, 1e-9)
        self._view.setRange(
            xRange=(left, right), yRange=(low - pad, high + pad), padding=0, disableAutoRange=True
        )

    def _on_view_moved(self) -> None:
        self._set_following(False)

    def _set_following(self, is_following: bool) -> None:
        if is_following != self._is_following:
            self._is_following = is_following
            self.following_changed.emit(is_following)

    def _on_mouse_moved(self, position: QPointF) -> None:
        if not self._view.sceneBoundingRect().contains(position):
            self._hide_cursor()
            return
        step = self._view.mapSceneToView(position).x()
        self._cursor.setPos(step)
        self._cursor.setVisible(True)
        self.step_hovered.emit(step)

    def leaveEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Takes the crosshair away when the pointer leaves."""
        self._hide_cursor()
        super().leaveEvent(event)

    def _hide_cursor(self) -> None:
        if self._cursor.isVisible():
            self._cursor.setVisible(False)
            self.step_hovered.emit(None)


class _View(pg.ViewBox):  # type: ignore[misc]  # the library carries no types
    """A view that reports double clicks and zooms along x unless Ctrl is held."""

    double_clicked = Signal()

    def mouseDoubleClickEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        self.double_clicked.emit()
        event.accept()

    def wheelEvent(self, event: Any, axis: int | None = None) -> None:  # noqa: N802 - Qt's name
        is_both = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        super().wheelEvent(event, axis if is_both or axis is not None else 0)


def paint_line(line: Any, colour: str | QColor, width: float) -> None:
    """Gives a line its colour (opaque: transparent lines paint ten times slower) and width."""
    line.setPen(pg.mkPen(colour, width=width))


def paint_points(points: Any, colour: str, *, line_width: float = 0.0) -> None:
    """Gives marks their colour; a width above 0 joins them by a line."""
    points.setSymbolBrush(pg.mkBrush(colour))
    points.setSymbolPen(pg.mkPen(colour))
    points.setPen(pg.mkPen(colour, width=line_width) if line_width else None)


def find_nearest(steps: Array, step: float) -> int | None:
    """Returns the index of the point nearest to ``step``, None without points."""
    if len(steps) == 0:
        return None
    right = int(np.searchsorted(steps, step))
    if right == 0:
        return 0
    if right == len(steps):
        return right - 1
    return right if steps[right] - step < step - steps[right - 1] else right - 1


def keep_finite(steps: Array, values: Array) -> tuple[Array, Array]:
    """Returns the points whose value is a number; a broken run has others."""
    values = np.asarray(values, dtype=np.float64)
    is_finite = np.isfinite(values)
    return np.asarray(steps, dtype=np.float64)[is_finite], values[is_finite]
