"""The Forgetting page: does the base's knowledge survive under an adapter."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from studio.core.errors import StudioError
from studio.core.events.measures import ProbeAnswered
from studio.core.forgetting.verdict import REMEDY, describe_outcome, judge
from studio.gui.bridge.adapter_selection import AdapterSelection
from studio.gui.context import Context
from studio.gui.pages.forgetting.answers_card import AnswersCard
from studio.gui.pages.forgetting.own_card import OwnCard
from studio.gui.pages.forgetting.presenter import ForgettingPresenter
from studio.gui.pages.forgetting.verdict_grid import VerdictGrid
from studio.gui.parts.base_form import ModelsCard
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page
from studio.gui.widgets.start_card import StartCard, build_setup

_WORDS = "Training for one thing can cost another. See what the base could do and no longer does."
_LEGEND = (
    "Click a tile to read the answers. Kept: what the base answers rightly is still right. "
    "Changed: a little was lost, or the words are quite different. Broke: much of it is gone. "
    "KL says how far the adapter's choice of words is from the base's, in nats per token."
)


class ForgettingPage(Page):
    """Two choices, one button, a tile per area."""

    def __init__(self, context: Context) -> None:
        super().__init__("Forgetting", _WORDS, scrolls=False)
        self._context = context
        self._answered: Sequence[ProbeAnswered] = ()
        self._selection = AdapterSelection(context.feed.store, context.background, self)
        self._presenter = ForgettingPresenter(
            context.feed, context.background, context.home, self._selection, self
        )
        self._notice, self._outcome = Notice(), Notice()
        self._models = ModelsCard("1. Adapters", "", self._selection)
        self._own = OwnCard()
        self._result = Card("What became of the base's knowledge")
        self._grid = VerdictGrid()
        for widget in (self._outcome, self._grid, PlainLabel(_LEGEND, "caption")):
            self._result.body.addWidget(widget)
        self._result.hide()
        self._answers = AnswersCard()
        self._start = StartCard("Check")
        cards = (self._models, self._own, self._result, self._answers)
        self._setup, self._scroll = build_setup(cards, self._start)
        self.body.setContentsMargins(SIZES.xl, SIZES.xs, SIZES.m, SIZES.m)
        self.body.setSpacing(SIZES.m)
        self.body.addWidget(self._notice)
        self.body.addWidget(self._setup, 1)
        self._connect()
        self._presenter.load_own()

    def show_run(self, folder: str) -> None:
        """Adds the adapter of the run in a folder."""
        self._selection.add_run(folder)

    def refresh(self) -> None:
        """Reads which adapters there are."""
        self._selection.refresh()

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
        start.stop_requested.connect(presenter.stop)
        self._grid.chosen.connect(self._on_grid_chosen)
        self._show_obstacle()

    def _show_obstacle(self) -> None:
        if not self._presenter.is_busy:
            self._start.show_idle(self._presenter.obstacle)

    def _on_start_requested(self) -> None:
        self._notice.clear()
        self._result.hide()
        self._answers.hide()
        self._presenter.start(self._own.text)

    def _on_presenter_finished(
        self, answered: list[ProbeAnswered], columns: tuple[str, ...]
    ) -> None:
        self._answered = answered
        verdicts = judge(answered, columns)
        severity, words = describe_outcome(verdicts)
        self._outcome.show_message(severity, words, REMEDY if severity == "error" else "")
        self._grid.show_verdicts(verdicts)
        self._result.show()
        self._show_obstacle()
        self._show_from(self._result)

    def _on_grid_chosen(self, area: str, column: str) -> None:
        base = next(iter(self._answered[0].answers))
        self._answers.show_answers(self._answered, area, base, column)
        self._show_from(self._answers)

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
