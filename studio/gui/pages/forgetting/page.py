"""The Forgetting page: does the base's knowledge survive under an adapter."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from studio.core.errors import StudioError
from studio.core.forgetting.report import ForgettingReport, write_report
from studio.core.paths import slug
from studio.gui.bridge.adapter_selection import AdapterSelection
from studio.gui.context import Context
from studio.gui.pages.forgetting.answers_card import AnswersCard
from studio.gui.pages.forgetting.own_card import OwnCard
from studio.gui.pages.forgetting.presenter import ForgettingPresenter
from studio.gui.pages.forgetting.result_card import ResultCard
from studio.gui.parts.base_form import ModelsCard
from studio.gui.parts.file_saver import FileSaver
from studio.gui.parts.kept_card import KeptCard
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page
from studio.gui.widgets.start_card import StartCard, build_setup

_WORDS = "Training for one thing can cost another. See what the base could do and no longer does."
_FILES = (("md", "For people, as Markdown"), ("csv", "All answers, as CSV"))


class ForgettingPage(Page):
    """Two choices, one button, a tile per area."""

    def __init__(self, context: Context) -> None:
        super().__init__("Forgetting", _WORDS, scrolls=False)
        self._context = context
        self._report: ForgettingReport | None = None
        self._selection = AdapterSelection(context.feed.store, context.background, self)
        self._presenter = ForgettingPresenter(
            context.feed, context.background, context.home, self._selection, self
        )
        self._notice = Notice()
        self._saver = FileSaver(context.background, self._notice)
        self._models = ModelsCard("1. Adapters", "", self._selection)
        self._own = OwnCard()
        self._result = ResultCard()
        self._answers = AnswersCard()
        self._history = KeptCard("Earlier checks")
        self._start = StartCard("Check")
        cards = (self._models, self._own, self._result, self._answers, self._history)
        self._setup, self._scroll = build_setup(cards, self._start)
        self.body.setContentsMargins(SIZES.xl, SIZES.s, SIZES.m, SIZES.m)
        self.body.setSpacing(SIZES.m)
        self.body.addWidget(self._notice)
        self.body.addWidget(self._setup, 1)
        self._connect()
        self._presenter.load_own()
        self._presenter.load_list()

    def show_run(self, folder: str) -> None:
        """Adds the adapter of the run in a folder."""
        self._selection.add_run(folder)

    def refresh(self) -> None:
        """Reads which adapters there are."""
        self._selection.refresh()
        self._presenter.load_list()

    def _connect(self) -> None:
        presenter, start = self._presenter, self._start
        presenter.own_loaded.connect(self._own.show_probes)
        presenter.progressed.connect(start.show_progress)
        presenter.finished.connect(self._on_presenter_finished)
        presenter.noticed.connect(self._notice.show_error)
        presenter.stopped.connect(self._on_presenter_stopped)
        presenter.failed.connect(self._on_presenter_failed)
        self._selection.refused.connect(self._notice.show_error)
        self._selection.changed.connect(self._show_obstacle)
        start.start_requested.connect(self._on_start_requested)
        start.stop_requested.connect(presenter.job.stop)
        presenter.listed.connect(self._history.show_entries)
        self._history.chosen.connect(presenter.open)
        self._history.delete_requested.connect(presenter.delete)
        self._result.chosen.connect(self._on_result_chosen)
        self._result.save.clicked.connect(self._on_save_clicked)
        self._show_obstacle()

    def _show_obstacle(self) -> None:
        if not self._presenter.job.is_busy:
            self._start.show_idle(self._presenter.obstacle)

    def _on_start_requested(self) -> None:
        self._notice.clear()
        self._result.hide()
        self._answers.hide()
        self._presenter.start(self._own.text)

    def _on_presenter_finished(self, report: ForgettingReport) -> None:
        self._report = report
        self._result.show_report(report)
        self._answers.hide()
        self._show_obstacle()
        self._show_from(self._result)

    def _on_result_chosen(self, area: str, column: str) -> None:
        if self._report is not None:
            base = self._report.columns[0]
            self._answers.show_answers(self._report.answered, area, base, column)
            self._show_from(self._answers)

    def _on_save_clicked(self) -> None:
        self._saver.show_menu(self._result.save, _FILES, self._ask_and_save)

    def _ask_and_save(self, kind: str) -> None:
        report = self._report
        if report is not None:
            name = f"forgetting-{slug(report.name)}.{kind}"
            self._saver.ask(self, name, lambda: write_report(report, kind))

    def save_file(self, path: Path, kind: str) -> None:
        """Writes the shown check, ``md`` or ``csv``."""
        report = self._report
        if report is not None:
            self._saver.save(path, lambda: write_report(report, kind))

    def _show_from(self, card: QWidget) -> None:
        """Scrolls to the top of a card, once it has its place."""
        bar = self._scroll.verticalScrollBar()
        QTimer.singleShot(0, self, lambda: bar.setValue(card.y()))

    def _on_presenter_stopped(self) -> None:
        self._notice.show_message("note", "The check was stopped.", "Nothing was kept of it.")
        self._show_obstacle()

    def _on_presenter_failed(self, error: StudioError) -> None:
        self._notice.show_error(error)
        self._show_obstacle()
