"""One run, live or over: its state, its end, its curves, samples, log and recipe."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from studio.core.events.types import Event
from studio.core.runs.record import RunRecord
from studio.gui.bridge.curves import RunCurves
from studio.gui.pages.train.incident_bar import IncidentBar
from studio.gui.pages.train.log_panel import LogPanel
from studio.gui.pages.train.outcome_card import OutcomeCard
from studio.gui.pages.train.plots_panel import PlotsPanel
from studio.gui.pages.train.recipe_panel import RecipePanel
from studio.gui.pages.train.samples_panel import SamplesPanel
from studio.gui.pages.train.status_card import StatusCard
from studio.gui.theme.tokens import SIZES


class RunView(QWidget):
    """Shows whatever run it is given; knows nothing of where it comes from.

    ``rows`` is the panel with the run's rows, which somebody else fills.

    Signals:
        resume_requested: Go on from the last checkpoint.
        compare_requested: Open Compare with this run's adapter.
        check_requested: See what this run's adapter made its base forget.
        export_requested: Open Export with this run's adapter.
        reuse_requested: Take the run's recipe over into the form.
    """

    resume_requested = Signal()
    compare_requested = Signal()
    check_requested = Signal()
    export_requested = Signal()
    reuse_requested = Signal()

    def __init__(self, rows: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows = rows
        self._is_over = False
        self._outcome = OutcomeCard()
        self._status = StatusCard()
        self._incidents = IncidentBar()
        self._plots = PlotsPanel()
        self._samples = SamplesPanel()
        self._log = LogPanel()
        self._recipe = RecipePanel()
        self._outcome.resume_requested.connect(self.resume_requested)
        self._outcome.change_requested.connect(self.reuse_requested)
        self._outcome.compare_requested.connect(self.compare_requested)
        self._outcome.check_requested.connect(self.check_requested)
        self._outcome.export_requested.connect(self.export_requested)
        self._recipe.reuse_requested.connect(self.reuse_requested)
        self._tabs = QTabWidget()
        self._tabs.setDocumentMode(True)
        self._tabs.setAccessibleName("Views of the run")
        self._tabs.tabBar().setAccessibleName("Views of the run")
        self._tabs.tabBar().setDrawBase(False)
        for panel, name in (
            (self._plots, "Curves"),
            (self._rows, "Rows"),
            (self._samples, "Samples"),
            (self._log, "Log"),
            (self._recipe, "Recipe"),
        ):
            self._tabs.addTab(panel, name)
        self._tabs.currentChanged.connect(lambda _: self._make_room())
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.m)
        box.addWidget(self._outcome)
        box.addWidget(self._status)
        box.addWidget(self._incidents)
        box.addWidget(self._tabs, 1)

    def prepare(self) -> None:
        """Builds what the first curves need, before they arrive."""
        self._plots.prepare()

    def show_record(self, record: RunRecord) -> None:
        """Shows the newest state of the run."""
        self._is_over = record.is_over
        self._outcome.show_record(record)
        self._status.show_record(record)
        # The end of a failed run says it all, and the plot needs the room.
        shown = () if record.status == "failed" else record.incidents
        self._incidents.show_incidents(record.id, shown)
        self._plots.show_incidents(record.incidents)
        self._samples.show_samples(record.samples, is_over=record.is_over)
        self._make_room()

    def show_curves(self, curves: RunCurves | None, total_steps: int | None) -> None:
        """Shows the newest curves of the run."""
        self._plots.show_curves(curves, total_steps, is_over=self._is_over)

    def show_events(self, events: Sequence[Event]) -> None:
        """Shows the log from its beginning and the whole curves of another run."""
        self._log.show_events(events)
        self._plots.fit()

    def add_events(self, events: Sequence[Event]) -> None:
        """Adds what just happened to the log."""
        self._log.add_events(events)

    def take_focus(self) -> None:
        """Gives the keyboard to the tabs: not to Stop, where a press of Space would end the run."""
        self._tabs.tabBar().setFocus(Qt.FocusReason.OtherFocusReason)

    def focus_outcome(self) -> None:
        """Gives the keyboard to what can be done after the end of the run."""
        if not self._outcome.take_focus():
            self.take_focus()

    def show_rows(self) -> None:
        """Turns to the rows of the run."""
        self._tabs.setCurrentWidget(self._rows)

    def _make_room(self) -> None:
        """Hides the numbers of a run that is over while something else is looked at."""
        self._status.setVisible(not self._is_over or self._tabs.currentWidget() is self._plots)

    def show_recipe(self, text: str) -> None:
        """Shows the frozen recipe of the run."""
        self._recipe.show_text(text)
