"""The losses of several runs in one plot, to compare them."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.gui.bridge.curves import RunCurves
from studio.gui.plots.canvas import PlotCanvas, keep_finite, paint_line, paint_points
from studio.gui.plots.legend import Swatch
from studio.gui.plots.smoothing import smooth
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import ElidedLabel, PlainLabel

_WEIGHT = 0.9
_MEANING = "Line: training loss. Dots: validation loss."


class OverlayPlot(QWidget):
    """One colour per run: a line for the training loss, dots for the validation loss."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._runs: tuple[tuple[str, RunCurves], ...] = ()
        self._items: list[Any] = []
        self._canvas = PlotCanvas("Plot of the losses of the chosen runs")
        self._canvas.colours_changed.connect(self._paint)
        self._names = QHBoxLayout()
        self._names.setSpacing(6)
        self._meaning = PlainLabel(_MEANING, "caption", wraps=False)
        fit = Button("Fit", kind="quiet")
        fit.setToolTip("Show all curves (or double-click the plot)")
        fit.setEnabled(False)
        fit.clicked.connect(self._canvas.fit)
        self._canvas.following_changed.connect(lambda is_on: fit.setEnabled(not is_on))
        top = QHBoxLayout()
        top.addLayout(self._names, 1)
        top.addWidget(self._meaning)
        top.addWidget(fit)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(top)
        layout.addWidget(self._canvas, 1)

    def show_runs(self, runs: tuple[tuple[str, RunCurves], ...]) -> None:
        """Draws runs, each a name and its curves, and forgets the ones before."""
        self._runs = runs
        for item in self._items:
            self._canvas.remove_item(item)
        self._items.clear()
        while self._names.count():
            item = self._names.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        extremes: list[tuple[float, float, float]] = []
        colours = self._canvas.colours.series
        for index, (name, curves) in enumerate(runs):
            colour = colours[index % len(colours)]
            self._add_name(name, colour)
            self._add_curves(curves, colour, extremes)
        self._names.addStretch(1)
        if extremes:
            rights, lows, highs = zip(*extremes, strict=True)
            self._canvas.show_bounds(0.0, max(rights), min(lows), max(highs))
            self._canvas.fit()

    def _paint(self) -> None:
        self.show_runs(self._runs)

    def _add_name(self, name: str, colour: str) -> None:
        label = ElidedLabel(name)
        label.setMaximumWidth(label.sizeHint().width())
        self._names.addWidget(Swatch(colour))
        self._names.addWidget(label, 1)

    def _add_curves(
        self, curves: RunCurves, colour: str, extremes: list[tuple[float, float, float]]
    ) -> None:
        steps, losses = keep_finite(np.asarray(curves.steps), np.asarray(curves.losses))
        losses = smooth(losses, _WEIGHT)
        marks, values = keep_finite(
            np.asarray(curves.validation_steps), np.asarray(curves.validation_losses)
        )
        line = self._canvas.add_line(is_smooth=True)
        paint_line(line, colour, 2)
        dots = self._canvas.add_points("o", 7)
        paint_points(dots, colour)
        self._items += [line, dots]
        line.setData(steps, losses, skipFiniteCheck=True)
        dots.setData(marks, values)
        for x, y in ((steps, losses), (marks, values)):
            if len(x):
                extremes.append((float(x[-1]), float(y.min()), float(y.max())))
