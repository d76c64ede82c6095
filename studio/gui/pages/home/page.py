"""The home page: try the starter, begin with an own model, or open a recent run."""

from __future__ import annotations

from typing import Any

from studio.core.errors import StudioError
from studio.core.runs.record import RunRecord
from studio.gui.bridge.live_job import LiveJob
from studio.gui.context import Context
from studio.gui.pages.home.hero import Hero
from studio.gui.pages.home.recent import RecentRuns
from studio.gui.pages.home.steps import StepStrip
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page


class HomePage(Page):
    """Where everybody begins."""

    def __init__(self, context: Context) -> None:
        super().__init__("Home", "Fine-tuning by point and click, on your own machine.")
        self._context = context
        starter = context.starter
        self._notice = Notice()
        self._hero = Hero(
            starter.data_sets if starter else (), starter.default_data_set if starter else ""
        )
        self._hero.starter_requested.connect(self._on_starter_requested)
        self._hero.own_model_requested.connect(lambda: self.page_requested.emit("model"))
        self._recent = RecentRuns()
        self._recent.run_selected.connect(lambda folder: self.run_requested.emit("train", folder))
        self._recent.all_requested.connect(lambda: self.page_requested.emit("runs"))
        self._steps = StepStrip()
        self._steps.page_requested.connect(self.page_requested)
        for widget in (self._notice, self._hero, self._steps, self._recent):
            self.body.addWidget(widget)
        self.body.addStretch(1)
        self._tell_lost_settings()
        context.feed.run_started.connect(self._on_runs_changed)
        context.feed.run_ended.connect(self._on_runs_changed)

    def refresh(self) -> None:
        """Reads the history again, beside the GUI thread."""
        store = self._context.feed.store
        self._context.background.start(
            lambda _cancellation: store.list(), self._on_records_listed, self._notice.show_error
        )

    def _tell_lost_settings(self) -> None:
        told = [self._context.draft.trouble, self._context.preferences.trouble]
        messages = [trouble.message for trouble in told if trouble]
        remedies = [trouble.remedy for trouble in told if trouble]
        if self._context.preferences.trouble:
            remedies.append("The program stays offline: “Stay offline” in Settings is on.")
        if messages:
            self._notice.show_message("warning", " ".join(messages), " ".join(remedies))

    def _on_starter_requested(self, name: str) -> None:
        starter = self._context.starter
        if starter is None:
            return
        self._notice.clear()
        try:
            recipe = starter.build_recipe(starter.get_data_set(name))
        except StudioError as error:
            self._notice.show_error(error)
            return
        model = self._context.draft.get_value("base.model")
        if model in ("", recipe.base.model):  # never over settings of the user's own
            self._context.draft.load(recipe)
        run = self._context.feed.start(recipe, self._context.draft.base_folder)
        self._hero.show_busy(True)
        run.known.connect(lambda: self._on_run_known(run))
        run.launch_failed.connect(self._on_launch_failed)

    def _on_run_known(self, run: LiveJob) -> None:
        self._hero.show_busy(False)
        self.run_requested.emit("train", run.folder)

    def _on_launch_failed(self, error: StudioError) -> None:
        self._hero.show_busy(False)
        self._notice.show_error(error)

    def _on_records_listed(self, records: list[RunRecord]) -> None:
        runs = [record for record in records if record.kind == "train"]
        self._recent.show_records(runs)
        if runs:  # who has trained before comes back for the runs
            self.body.removeWidget(self._steps)
            self.body.insertWidget(self.body.count() - 1, self._steps)

    def _on_runs_changed(self, _run: Any) -> None:
        if self.isVisible():
            self.refresh()
