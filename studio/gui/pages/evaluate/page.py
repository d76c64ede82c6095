"""The Evaluate page: base and adapters measured on the same rows."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QStackedWidget, QWidget

from studio.core.errors import StudioError
from studio.core.paths import slug
from studio.core.results.result import EvaluationResult
from studio.core.results.store import ResultStore
from studio.core.results.tables import build_file
from studio.gui.bridge.adapter_selection import AdapterSelection
from studio.gui.context import Context
from studio.gui.pages.evaluate.file_look import FileLook
from studio.gui.pages.evaluate.metrics_card import MetricsCard
from studio.gui.pages.evaluate.presenter import EvaluatePresenter
from studio.gui.pages.evaluate.result_view import ResultView
from studio.gui.pages.evaluate.rows_card import RowsCard
from studio.gui.parts.base_form import ModelsCard
from studio.gui.parts.file_saver import FileSaver
from studio.gui.parts.kept_card import KeptCard
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page
from studio.gui.widgets.start_card import StartCard, build_setup

_WORDS = "Numbers instead of impressions: base and adapters on the same rows."


class EvaluatePage(Page):
    """Three choices, one button, and a result that is kept."""

    def __init__(self, context: Context) -> None:
        super().__init__("Evaluate", _WORDS, scrolls=False)
        self._context = context
        self._wanted = ""
        self._selection = AdapterSelection(context.feed.store, context.background, self)
        self._presenter = EvaluatePresenter(
            context.feed, context.background, ResultStore(context.home), self._selection, self
        )
        self._notice = Notice()
        self._saver = FileSaver(context.background, self._notice)
        words = "The base is always measured beside the adapters."
        self._models = ModelsCard("1. Models", words, self._selection)
        self._rows, self._metrics = RowsCard(), MetricsCard()
        self._look = FileLook(context.feed, self._selection, self)
        self._start = StartCard("Measure")
        self._history = KeptCard("Earlier evaluations")
        self._view = ResultView()
        self._new = Button("New evaluation", "plus")
        self._new.hide()
        self.header_actions.addWidget(self._new)
        self._stack = QStackedWidget()
        self._stack.addWidget(self._build_setup())
        self._stack.addWidget(self._view)
        self.body.setContentsMargins(SIZES.xl, SIZES.s, SIZES.m, SIZES.m)
        self.body.setSpacing(SIZES.m)
        self.body.addWidget(self._notice)
        self.body.addWidget(self._stack, 1)
        self._connect()
        self._presenter.load_list()

    def show_run(self, folder: str) -> None:
        """Measures the adapter of the run in a folder on the rows it held back."""
        self._wanted = folder
        self._show_setup()
        self._selection.add_run(folder)

    def refresh(self) -> None:
        """Reads which adapters and evaluations there are."""
        self._selection.refresh()
        self._presenter.load_list()

    def _build_setup(self) -> QWidget:
        cards = (self._models, self._rows, self._metrics, self._history)
        return build_setup(cards, self._start)[0]

    def _connect(self) -> None:
        presenter, start = self._presenter, self._start
        presenter.progressed.connect(start.show_progress)
        presenter.finished.connect(self._on_presenter_finished)
        presenter.stopped.connect(self._on_presenter_stopped)
        presenter.failed.connect(self._on_presenter_failed)
        presenter.listed.connect(self._history.show_entries)
        self._selection.refused.connect(self._notice.show_error)
        self._selection.offered.connect(self._on_selection_offered)
        for signal in (self._selection.changed, self._rows.changed, self._metrics.changed):
            signal.connect(self._show_obstacle)
        self._rows.file_chosen.connect(self._look.look_at)
        self._look.began.connect(self._rows.columns.show_waiting)
        self._look.found.connect(self._rows.columns.show_found)
        start.start_requested.connect(self._on_start_requested)
        start.stop_requested.connect(presenter.job.stop)
        self._history.chosen.connect(presenter.open)
        self._history.delete_requested.connect(presenter.delete)
        self._view.save_requested.connect(self._on_view_save_requested)
        self._new.clicked.connect(self._show_setup)
        self._show_obstacle()

    def _show_obstacle(self) -> None:
        if not self._presenter.job.is_busy:
            rows, metrics = self._rows, self._metrics
            obstacle = self._presenter.find_obstacle(rows.wish)
            self._start.show_idle(obstacle or rows.obstacle or metrics.obstacle)

    def _show_setup(self) -> None:
        self._stack.setCurrentIndex(0)
        self._new.hide()
        self._show_obstacle()

    def _on_selection_offered(self) -> None:
        wanted, self._wanted = self._wanted, ""
        self._rows.show_runs(self._selection.rows, wanted)

    def _on_start_requested(self) -> None:
        self._notice.clear()
        metrics = self._metrics
        self._presenter.start(self._rows.wish, metrics.metrics, metrics.max_new_tokens)

    def _on_presenter_finished(self, result: EvaluationResult) -> None:
        self._notice.clear()
        self._view.show_result(result)
        self._stack.setCurrentIndex(1)
        self._new.show()
        self._context.journey.mark("compare", is_done=True)

    def _on_presenter_stopped(self) -> None:
        self._notice.show_message("note", "The evaluation was stopped.", "Nothing was kept of it.")
        self._show_obstacle()

    def _on_presenter_failed(self, error: StudioError) -> None:
        self._notice.show_error(error)
        self._show_obstacle()

    def _on_view_save_requested(self, kind: str) -> None:
        result = self._view.result
        if result is not None:
            name = f"{slug(result.summary.name)}-{kind}"
            self._saver.ask(self, name, lambda: build_file(result, kind))

    def save_file(self, path: Path, kind: str) -> None:
        """Writes the shown result: ``table.md``, ``table.csv`` or ``rows.csv``."""
        result = self._view.result
        if result is not None:
            self._saver.save(path, lambda: build_file(result, kind))
