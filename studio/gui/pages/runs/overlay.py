"""The curves of the selected runs; the plotting library is loaded with the first selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.gui.bridge.curves import RunCurves
from studio.gui.widgets.labels import PlainLabel

if TYPE_CHECKING:
    from studio.gui.plots.overlay_plot import OverlayPlot

_HINT = "Select one or more runs to see their losses here; Ctrl-click adds a run."


class OverlayPanel(QWidget):
    """A hint, or one curve per selected run."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._plot: OverlayPlot | None = None
        self._hint = PlainLabel(_HINT, "muted")
        self._hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._box = QVBoxLayout(self)
        self.setMinimumHeight(170)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.addWidget(self._hint, 1)

    def show_runs(self, runs: tuple[tuple[str, RunCurves], ...]) -> None:
        """Draws the losses of these runs, each with its name."""
        has_points = any(len(curves.steps) for _, curves in runs)
        self._hint.setText("There are no curves of what is selected." if runs else _HINT)
        self._hint.setVisible(not has_points)
        if has_points and self._plot is None:
            from studio.gui.plots.overlay_plot import OverlayPlot

            self._plot = OverlayPlot()
            self._box.addWidget(self._plot, 1)
        if self._plot is not None:
            self._plot.setVisible(has_points)
            self._plot.show_runs(runs if has_points else ())
