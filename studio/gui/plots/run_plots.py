"""All curves of one run: the losses large, four quantities small below them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.core.units import format_bytes, format_rate
from studio.gui.bridge.curves import RunCurves
from studio.gui.plots.loss_plot import LossPlot
from studio.gui.plots.metric_plot import MetricPlot
from studio.gui.widgets.labels import PlainLabel

_TURN_MS = 90
_WAITING = "The curves begin with the first step."
_NEVER = "The run ended before its first step, so there are no curves."
_SMALL: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("Learning rate", "How far each step goes", lambda rate: f"{rate:.2e}"),
    (
        "Gradient norm",
        "How strongly the data pulls at the adapter; sudden peaks mean trouble",
        lambda norm: f"{norm:.3g}",
    ),
    ("Speed", "Tokens trained per second", lambda rate: format_rate(rate, "tokens")),
    ("Memory", "Memory in use while training", format_bytes),
)


class RunPlots(QWidget):
    """Draws the curves it is given; nothing is read by itself."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._loss: LossPlot | None = None
        self._small: list[MetricPlot] = []
        self._marks: Mapping[int, str] = {}
        self._curves = RunCurves.empty()
        self._total_steps = 0
        self._has_news = False
        self._due: list[Callable[[RunCurves], None]] = []
        self._turns = QTimer(self)
        self._turns.setInterval(_TURN_MS)
        self._turns.timeout.connect(self._draw_next)
        self._builds = QTimer(self)
        self._builds.timeout.connect(self._build_next)
        self._builds.start(0)
        self._waiting = PlainLabel(_WAITING, "muted")
        self._waiting.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._plots = QWidget()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._waiting, 1)
        outer.addWidget(self._plots, 1)
        layout = QVBoxLayout(self._plots)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        self._loss_place, self._small_places = QVBoxLayout(), QHBoxLayout()
        self._small_places.setSpacing(16)
        layout.addLayout(self._loss_place, 5)
        layout.addLayout(self._small_places, 2)

    @property
    def is_built(self) -> bool:
        """True when all five plots are there."""
        return len(self._small) == len(_SMALL)

    def show_curves(
        self, curves: RunCurves, total_steps: int | None, *, is_over: bool = False
    ) -> None:
        """Draws the curves of a run that will take ``total_steps`` steps."""
        self._curves, self._total_steps = curves, total_steps or 0
        has_points = len(curves.steps) + len(curves.validation_steps) > 0
        self._waiting.setText(_NEVER if is_over else _WAITING)
        self._waiting.setVisible(not has_points)
        self._plots.setVisible(has_points)
        self._has_news = True
        if self.is_built and not self._turns.isActive():
            self._turns.start()
            self._draw_next()

    def show_marks(self, marks: Mapping[int, str]) -> None:
        """Marks steps in the loss plot, each with a few words."""
        self._marks = marks
        if self._loss is not None:
            self._loss.show_marks(marks)

    def _build_next(self) -> None:
        """Builds one plot: all five in one go would hold the window for a fifth of a second."""
        if self._loss is None:
            self._loss = LossPlot()
            self._loss.show_marks(self._marks)
            self._loss_place.addWidget(self._loss)
        else:
            plot = MetricPlot(*_SMALL[len(self._small)])
            self._small.append(plot)
            self._small_places.addWidget(plot, 1)
        if self.is_built:
            self._builds.stop()
            self._turns.start()

    def _draw_next(self) -> None:
        """Draws one plot: a part of a frame, so that the window never waits for all five."""
        if not self._due and self._has_news:
            self._has_news = False
            self._due = [self._draw_loss, self._draw_small, self._draw_other]
        if self._due:
            self._due.pop(0)(self._curves)
        else:
            self._turns.stop()

    def _draw_loss(self, curves: RunCurves) -> None:
        if self._loss is not None:
            self._loss.show_run(
                (np.asarray(curves.steps), np.asarray(curves.losses)),
                (np.asarray(curves.validation_steps), np.asarray(curves.validation_losses)),
                self._total_steps,
            )

    def _draw_small(self, curves: RunCurves) -> None:
        steps = np.asarray(curves.steps)
        rate, gradient, _, _ = self._small
        rate.show_values(steps, np.asarray(curves.learning_rates))
        gradient.show_values(steps, np.asarray(curves.gradient_norms))

    def _draw_other(self, curves: RunCurves) -> None:
        _, _, speed, memory = self._small
        speed.show_values(np.asarray(curves.steps), np.asarray(curves.tokens_per_second))
        memory.show_values(np.asarray(curves.memory_steps), np.asarray(curves.used_memory_bytes))

    def fit(self) -> None:
        """Shows the whole run in the loss plot."""
        if self._loss is not None:
            self._loss.fit()
