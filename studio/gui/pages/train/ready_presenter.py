"""Keeps the view before the start in step with the draft and starts the run."""

from __future__ import annotations

from PySide6.QtCore import QObject

from studio.core.memory.forecast import Forecast
from studio.gui.bridge.background import Background, BackgroundCall
from studio.gui.bridge.estimate import Estimate, estimate_run
from studio.gui.bridge.forecaster import Forecaster
from studio.gui.bridge.run_feed import RunFeed
from studio.gui.forms.draft import Draft
from studio.gui.pages.train.ready_view import ReadyView
from studio.gui.pages.train.summary import (
    build_memory_row,
    build_summary,
    build_unfinished_summary,
    describe_missing,
    describe_problems,
)


class ReadyPresenter(QObject):
    """Shows the draft, counts its steps in the background, and starts it.

    ``has_news`` is True when the draft was edited after the last start.
    """

    def __init__(
        self,
        view: ReadyView,
        draft: Draft,
        feed: RunFeed,
        background: Background,
        forecaster: Forecaster,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.has_news = False
        self._view = view
        self._draft = draft
        self._feed = feed
        self._background = background
        self._forecaster = forecaster
        self._call: BackgroundCall | None = None
        self._estimate: Estimate | None = None
        self._forecast: Forecast | None = None
        draft.changed.connect(self._on_draft_changed)
        forecaster.forecast_made.connect(self._on_forecast_made)
        view.start_requested.connect(self._on_view_start_requested)
        feed.failed.connect(lambda _error: self.show())
        feed.run_started.connect(lambda _folder: self.show())

    def show(self) -> None:
        """Shows the draft as it is now."""
        if self._call is not None:
            self._call.cancel()
        self._forecast = None
        self._show_estimate(None)
        recipe, folder = self._draft.recipe, self._draft.base_folder
        if recipe is not None:
            self._forecaster.show_recipe(recipe, folder)
            self._forecaster.look_at_device()
            self._call = self._background.start(
                lambda cancellation: estimate_run(recipe, folder, cancellation),
                self._show_estimate,
            )

    def _show_estimate(self, estimate: Estimate | None) -> None:
        self._estimate = estimate
        self._show_summary()

    def _on_forecast_made(self, forecast: Forecast) -> None:
        self._forecast = forecast
        self._show_summary()

    def _show_summary(self) -> None:
        recipe, values = self._draft.recipe, self._draft.get_values()
        rows = build_unfinished_summary(values)
        if recipe is not None:
            rows = [*build_summary(recipe, self._estimate), build_memory_row(self._forecast)]
        self._view.show_summary(str(values["name"]), rows)
        missing = self._estimate.missing if self._estimate is not None else ()
        self._view.show_problems([
            *describe_problems(self._draft.problems), *describe_missing(missing, recipe),
        ])  # fmt: skip

    def _on_draft_changed(self) -> None:
        self.has_news = True
        if self._view.isVisible():
            self.show()

    def _on_view_start_requested(self) -> None:
        recipe = self._draft.recipe
        if recipe is not None:
            self.has_news = False
            self._view.show_starting()
            self._feed.start(recipe, self._draft.base_folder)
