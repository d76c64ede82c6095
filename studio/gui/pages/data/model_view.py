"""Runs the preview job and passes what it finds to the view."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from studio.core.errors import JobDied, StudioError
from studio.core.events.types import DataProblemFound, Event, RowPreviewed
from studio.core.jobs.orders import PreviewOrder
from studio.core.runs.record import RunRecord
from studio.gui.bridge.live_job import LiveJob
from studio.gui.context import Context
from studio.gui.pages.data.preview_card import PreviewTabs

_ROWS = 20


class ModelView(QObject):
    """Between the draft, the preview job and the tabs.

    Signals:
        page_requested: The page that mends what forbids the preview.
    """

    page_requested = Signal(str)

    def __init__(self, context: Context, tabs: PreviewTabs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self._tabs = tabs
        self._job: LiveJob | None = None
        self._seen: dict[str, Any] | None = None
        self._way_out = "model"
        tabs.model_view_requested.connect(self.start)
        tabs.way_out_requested.connect(lambda: self.page_requested.emit(self._way_out))

    def refresh(self) -> None:
        """Drops a preview that no longer fits the draft, and says what is missing for one."""
        values = self._context.draft.get_values()
        seen = {"base": values["base"], "data": values["data"]}
        if seen == self._seen:
            return
        self._seen = seen
        self._drop_job()
        if not values["base"]["model"]:
            self._forbid(
                "model",
                "A model is needed first",
                "Every model cuts text into other tokens, so the preview needs to know which one.",
                "Choose a model",
            )
        elif self._context.draft.recipe is None:
            self._forbid(
                "recipe",
                "The recipe has a problem",
                "The preview works with all settings of the recipe. Mend what is marked there.",
                "Open the recipe",
            )
        else:
            self._tabs.show_ready()

    def start(self) -> None:
        """Starts the preview job."""
        recipe = self._context.draft.recipe
        if recipe is None:
            self._seen = None
            self.refresh()
            return
        self._drop_job()
        self._tabs.show_working()
        order = PreviewOrder(base_folder=str(self._context.draft.base_folder), rows=_ROWS)
        job = self._context.feed.start_job(order, recipe)
        self._job = job
        job.events_arrived.connect(self._on_events_arrived)
        job.launch_failed.connect(self._tabs.show_failure)
        job.ended.connect(self._on_job_ended)

    def _forbid(self, way_out: str, title: str, sentence: str, action: str) -> None:
        self._way_out = way_out
        self._tabs.show_forbidden(title, sentence, action)

    def _drop_job(self) -> None:
        if self._job is None:
            return
        self._job.events_arrived.disconnect(self._on_events_arrived)
        self._job.launch_failed.disconnect(self._tabs.show_failure)
        self._job.ended.disconnect(self._on_job_ended)
        if not self._job.is_over:
            self._job.stop()
        self._job = None

    def _on_events_arrived(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, RowPreviewed):
                self._tabs.show_model_row(event)
            elif isinstance(event, DataProblemFound):
                self._tabs.show_problem(event)

    def _on_job_ended(self, record: RunRecord) -> None:
        failure = record.failure
        if failure is not None:
            self._tabs.show_failure(StudioError(failure.message, failure.remedy))
        elif record.status == "interrupted":
            self._tabs.show_failure(
                JobDied("The preview ended without saying why.", "Please try again.")
            )
