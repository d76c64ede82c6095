"""The loss of one run: raw and smoothed training loss, validation points, a star at the best."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QHBoxLayout,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from studio.gui.plots.canvas import (
    find_nearest,
    keep_finite,
    paint_line,
    paint_points,
)
from studio.gui.plots.legend import Legend
from studio.gui.plots.marks import MarkedCanvas
from studio.gui.plots.smoothing import smooth
from studio.gui.theme.tokens import blend
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import PlainLabel, plain_tooltip

Array = NDArray[np.float64]
_EMPTY = np.empty(0)
_START_SMOOTHING_PERCENT = 45
_OUTLIER_PERCENT = 0.5
_FAINTNESS = 0.62
_TRAIN, _TRAIN_SMOOTHED = "Training loss", "Training loss, smoothed"
_SMOOTHED_HELP = (
    "The thick curve: an average over neighbouring steps. The thin curve, and the number in the "
    "card above, are each step's own loss, which jumps from step to step."
)


class LossPlot(QWidget):
    """Curves of one run with smoothing, zoom, logarithmic scale and values below the pointer."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._train: tuple[Array, Array] = (_EMPTY, _EMPTY)
        self._smoothed = _EMPTY
        self._validation: tuple[Array, Array] = (_EMPTY, _EMPTY)
        self._marks: dict[int, str] = {}
        self._hovered: float | None = None
        self._total_steps = 0
        self._canvas = MarkedCanvas("Plot of the losses")
        self._raw_line = self._canvas.add_line()
        self._smooth_line = self._canvas.add_line(is_smooth=True)
        self._validation_line = self._canvas.add_points("o", 6)
        self._best_mark = self._canvas.add_points("star", 15)
        self._legend = Legend()
        self._legend.add_entry("step", "Step")
        self._legend.add_entry("train", _TRAIN_SMOOTHED, _SMOOTHED_HELP)
        self._legend.add_entry("validation", "Validation loss")
        self._legend.add_entry("best", "Best")
        self._legend.add_entry("mark", "Mended")
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._log = Button("Log scale", kind="quiet")
        self._fit = Button("Fit", kind="quiet")
        self._build()
        self._paint()
        self._show_values()

    @property
    def smoothing_weight(self) -> float:
        """How much of the past the smoothed curve keeps: 0 (nothing) to 0.99."""
        return float(1 - 10 ** (-2 * self._slider.value() / 100))

    @property
    def is_following(self) -> bool:
        """True while the whole run is shown."""
        return self._canvas.is_following

    def show_run(
        self,
        train: tuple[Array, Array],
        validation: tuple[Array, Array],
        total_steps: int = 0,
    ) -> None:
        """Draws steps and losses; values that are not finite are left out.

        ``total_steps`` reserves the room to the right that the run will need.
        """
        self._train = keep_finite(*train)
        self._validation = keep_finite(*validation)
        self._total_steps = total_steps
        self._draw()

    def show_marks(self, marks: Mapping[int, str]) -> None:
        """Draws an upright line at each step of ``marks``, with words for below the pointer."""
        self._marks = dict(marks)
        self._canvas.show_marks(tuple(self._marks), self._canvas.colours.series[3])
        self._show_values()

    def fit(self) -> None:
        """Shows the whole run again."""
        self._canvas.fit()

    def _paint(self) -> None:
        colours = self._canvas.colours
        train, validation, best = colours.series[0], colours.series[1], colours.series[5]
        paint_line(self._raw_line, blend(train, colours.window, _FAINTNESS), 1)
        paint_line(self._smooth_line, train, 2)
        paint_points(self._validation_line, validation, line_width=1.5)
        paint_points(self._best_mark, best)
        self._legend.show_colour("step", colours.border_strong)
        self._legend.show_colour("train", train)
        self._legend.show_colour("validation", validation)
        self._legend.show_colour("best", best)
        self._legend.show_colour("mark", colours.series[3])
        self._canvas.show_marks(tuple(self._marks), colours.series[3])

    def _build(self) -> None:
        self._slider.setRange(0, 100)
        self._slider.setValue(_START_SMOOTHING_PERCENT)
        self._slider.setFixedWidth(110)
        self._slider.setAccessibleName("Smoothing")
        self._slider.setToolTip(
            plain_tooltip("How much the thick curve averages over neighbouring steps")
        )
        self._log.setToolTip(
            plain_tooltip("Show small losses larger: every line is ten times the one below")
        )
        self._fit.setToolTip(plain_tooltip("Show the whole run (or double-click the plot)"))
        self._fit.setEnabled(False)
        self._slider.valueChanged.connect(self._draw)
        self._log.setCheckable(True)
        self._log.toggled.connect(self._canvas.show_log_scale)
        self._fit.clicked.connect(self._canvas.fit)
        self._canvas.following_changed.connect(
            lambda is_following: self._fit.setEnabled(not is_following)
        )
        self._canvas.colours_changed.connect(self._paint)
        self._canvas.step_hovered.connect(self._on_canvas_step_hovered)
        bar = QHBoxLayout()
        bar.setSpacing(10)
        bar.addWidget(PlainLabel("Loss", "heading", wraps=False))
        bar.addStretch(1)
        smoothing = PlainLabel("Smoothing", "muted", wraps=False)
        smoothing.setBuddy(self._slider)
        for widget in (smoothing, self._slider, self._log, self._fit):
            bar.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(bar)
        layout.addWidget(self._legend)
        layout.addWidget(self._canvas, 1)

    def _draw(self) -> None:
        steps, losses = self._train
        weight = self.smoothing_weight
        self._smoothed = smooth(losses, weight)
        self._legend.show_name("train", _TRAIN_SMOOTHED if weight else _TRAIN)
        self._raw_line.setData(*_positive(steps, losses), skipFiniteCheck=True)
        self._smooth_line.setData(*_positive(steps, self._smoothed), skipFiniteCheck=True)
        self._validation_line.setData(*_positive(*self._validation), skipFiniteCheck=True)
        best = self._find_best()
        kept = slice(0, 0) if best is None else slice(best, best + 1)
        self._best_mark.setData(*_positive(*(values[kept] for values in self._validation)))
        self._show_bounds()
        self._show_values()

    def _find_best(self) -> int | None:
        losses = self._validation[1]
        return int(np.argmin(losses)) if len(losses) else None

    def _find_mark(self) -> str:
        """Returns the words of the mark below the pointer, empty where there is none."""
        hovered = self._hovered
        if hovered is None or not self._marks:
            return ""
        nearest = min(self._marks, key=lambda step: abs(step - hovered))
        if abs(nearest - hovered) > self._canvas.get_reach():
            return ""
        return self._marks[nearest]

    def _show_bounds(self) -> None:
        steps, losses = self._train
        seen = [part for part in (self._smoothed, self._validation[1]) if len(part)]
        if len(losses):
            # One spike of the raw loss must not press the rest of the run flat.
            seen.append(np.percentile(losses, [_OUTLIER_PERCENT, 100 - _OUTLIER_PERCENT]))
        if not seen:
            return
        low = min(float(part.min()) for part in seen)
        high = max(float(part.max()) for part in seen)
        last = max(float(x[-1]) for x in (steps, self._validation[0]) if len(x))
        # The curve fills the plot from its first tenth on instead of hiding at the left edge.
        right = min(float(self._total_steps), last * 10) if self._total_steps else last
        self._canvas.show_bounds(0.0, max(right, last), low, high)

    def _on_canvas_step_hovered(self, step: float | None) -> None:
        self._hovered = step
        self._show_values()

    def _show_values(self) -> None:
        steps = self._train[0]
        step = self._hovered
        index = len(steps) - 1 if step is None else find_nearest(steps, step)
        if index is None or index < 0:
            for key in ("step", "train", "best"):
                self._legend.show_value(key, "")
        else:
            self._legend.show_value("step", f"{int(steps[index]):,}")
            self._legend.show_value("train", f"{self._smoothed[index]:.4g}")
        marks, values = self._validation
        near = len(marks) - 1 if step is None else find_nearest(marks, step)
        is_known = near is not None and near >= 0
        self._legend.show_value("validation", f"{values[near]:.4g}" if is_known else "")
        best = self._find_best()
        words = "" if best is None else f"{values[best]:.4g} at step {int(marks[best]):,}"
        mark = self._find_mark()
        self._legend.show_value("best", "" if mark else words)  # there is room for one of them
        self._legend.show_value("mark", mark)


def _positive(steps: Array, values: Array) -> tuple[Array, Array]:
    """Returns the points with tiny values lifted, so that the logarithm always exists."""
    return steps, np.maximum(values, 1e-12)
