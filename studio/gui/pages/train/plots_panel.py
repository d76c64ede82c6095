"""The place of the plots, which are built when the plotting library is in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.core.runs.incidents import Incident
from studio.gui.bridge.curves import RunCurves
from studio.gui.theme.tokens import SIZES

if TYPE_CHECKING:
    from studio.gui.plots.run_plots import RunPlots

_MOST_MARKS = 40


class PlotsPanel(QWidget):
    """Draws the newest curves while it is visible and remembers them while it is not.

    Nothing is drawn before ``prepare``: loading the plotting library here would hold the window.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._plots: RunPlots | None = None
        self._marks: dict[int, str] = {}
        self._waiting: tuple[RunCurves, int | None, bool] | None = None
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, SIZES.m, 0, 0)

    def show_curves(
        self, curves: RunCurves | None, total_steps: int | None, *, is_over: bool = False
    ) -> None:
        """Shows the curves of a run, or why there are none."""
        self._waiting = (curves or RunCurves.empty(), total_steps, is_over)
        if self.isVisible():
            self._draw()

    def show_incidents(self, incidents: Sequence[Incident]) -> None:
        """Marks the steps at which the run mended something by itself."""
        marks: dict[int, str] = {}
        for one in incidents[-_MOST_MARKS:]:
            titles = marks.get(one.step)
            if titles is None or one.title not in titles:
                marks[one.step] = f"{titles}, {one.title}" if titles else one.title
        if marks != self._marks:
            self._marks = marks
            if self._plots is not None:
                self._plots.show_marks(marks)

    def fit(self) -> None:
        """Shows the whole run again."""
        if self._plots is not None:
            self._plots.fit()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Draws what arrived while the panel was hidden."""
        super().showEvent(event)
        self._draw()

    def prepare(self) -> None:
        """Builds the plots; the plotting library was loaded beside the GUI thread before."""
        if self._plots is None:
            from studio.gui.plots.run_plots import RunPlots

            self._plots = RunPlots()
            self._plots.show_marks(self._marks)
            self._box.addWidget(self._plots)
            if self.isVisible():
                self._draw()

    def _draw(self) -> None:
        if self._plots is not None and self._waiting is not None:
            curves, total_steps, is_over = self._waiting
            self._plots.show_curves(curves, total_steps, is_over=is_over)
            self._waiting = None
