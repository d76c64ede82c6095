"""The Train page: a last look before the start, then the run with its curves, then its end."""

from __future__ import annotations

from PySide6.QtWidgets import QStackedLayout

from studio.core.recipe.schema import Recipe
from studio.core.runs.record import RunRecord
from studio.gui.bridge.curves import RunCurves
from studio.gui.bridge.forecaster import Forecaster
from studio.gui.context import Context
from studio.gui.pages.train.controls import Controls
from studio.gui.pages.train.presenter import TrainPresenter
from studio.gui.pages.train.ready_presenter import ReadyPresenter
from studio.gui.pages.train.ready_view import ReadyView
from studio.gui.pages.train.rows_presenter import RowsPresenter
from studio.gui.pages.train.run_view import RunView
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page

_READY_WORDS = "A last look at what will be trained."


class TrainPage(Page):
    """Starts runs and shows one at a time."""

    def __init__(self, context: Context) -> None:
        super().__init__("Train", _READY_WORDS, scrolls=False)
        self._context = context
        self._marked: tuple[bool, bool] | None = None
        self._presenter = TrainPresenter(context.feed, context.background, self)
        self._notice = Notice()
        self._ready = ReadyView()
        self._rows = RowsPresenter(context, self._notice, self)
        self._view = RunView(self._rows.panel)
        self._controls = Controls()
        self._starter = ReadyPresenter(
            self._ready, context.draft, context.feed, context.background,
            Forecaster(context.background, context.home, context.gate, self), self,
        )  # fmt: skip
        self._new, self._back = Button("New run", "plus"), Button("Back to the run", "train")
        for widget in (self._controls, self._new, self._back):
            widget.hide()
            self.header_actions.addWidget(widget)
        self._stack = QStackedLayout()
        self._stack.addWidget(self._ready)
        self._stack.addWidget(self._view)
        self.body.setContentsMargins(SIZES.xl, SIZES.xs, SIZES.xl, SIZES.l)
        self.body.addWidget(self._notice)
        self.body.addLayout(self._stack, 1)
        self._connect_presenter()
        self._connect_views()

    def show_run(self, folder: str) -> None:
        """Shows the run in a folder, live or saved."""
        self._starter.has_news = False  # an explicit wish for this run
        self._presenter.show_run(folder, was_opened=True)

    def show_part(self, part: str) -> None:
        """Turns to the rows of the run that is shown."""
        if part == "rows":
            self._view.show_rows()

    def refresh(self) -> None:
        """Shows the run at work; without one, the recipe if it was changed since the last run."""
        self._presenter.show_newest()
        is_free = not self._presenter.is_alive
        if self._presenter.is_ready_shown or (is_free and self._starter.has_news):
            self._presenter.show_ready()
        self._presenter.load_plots()

    def _connect_presenter(self) -> None:
        presenter, view = self._presenter, self._view
        presenter.ready_shown.connect(self._on_presenter_ready_shown)
        presenter.run_shown.connect(self._on_presenter_run_shown)
        presenter.record_changed.connect(self._on_presenter_record_changed)
        presenter.curves_changed.connect(self._on_presenter_curves_changed)
        presenter.log_replaced.connect(view.show_events)
        presenter.log_added.connect(view.add_events)
        presenter.recipe_changed.connect(view.show_recipe)
        presenter.recipe_loaded.connect(self._on_presenter_recipe_loaded)
        presenter.stopping.connect(self._controls.show_stopping)
        presenter.plots_loaded.connect(view.prepare)
        presenter.failed.connect(self._notice.show_error)
        self._rows.prepared.connect(presenter.show_ready)
        self._rows.row_requested.connect(lambda part: self.part_requested.emit("data", "", part))

    def _connect_views(self) -> None:
        presenter, view, controls = self._presenter, self._view, self._controls
        self._new.clicked.connect(presenter.show_ready)
        self._back.clicked.connect(lambda: presenter.show_run(presenter.folder))
        self._ready.start_requested.connect(self._notice.clear)
        self._ready.place_requested.connect(self.page_requested)
        controls.pause_requested.connect(presenter.pause)
        controls.continue_requested.connect(presenter.go_on)
        controls.save_requested.connect(presenter.save_now)
        controls.stop_requested.connect(presenter.stop)
        controls.kill_requested.connect(presenter.kill)
        view.resume_requested.connect(presenter.resume)
        view.reuse_requested.connect(presenter.load_recipe)
        for signal, key in (
            (view.compare_requested, "compare"),
            (view.check_requested, "forgetting"),
            (view.export_requested, "export"),
        ):
            signal.connect(lambda key=key: self.run_requested.emit(key, presenter.folder))

    def _on_presenter_ready_shown(self) -> None:
        self._stack.setCurrentWidget(self._ready)
        self._starter.show()
        self.show_subtitle(_READY_WORDS)
        self._show_actions()

    def _on_presenter_run_shown(self) -> None:
        self._notice.clear()
        self._controls.show_fresh()
        self._stack.setCurrentWidget(self._view)
        self._view.take_focus()
        self._show_actions()

    def _on_presenter_record_changed(self, record: RunRecord) -> None:
        was_steered = self._controls.has_keyboard
        for part in (self._view, self._rows, self._controls):
            part.show_record(record)
        if record.is_over and was_steered:
            self._view.focus_outcome()
        self._show_actions()
        is_done = record.is_over and record.adapter_folder is not None
        if (is_done, record.is_over) != self._marked:
            self._marked = (is_done, record.is_over)
            self._context.journey.mark("train", is_active=not record.is_over, is_done=is_done)

    def _on_presenter_curves_changed(self, curves: RunCurves | None) -> None:
        record = self._presenter.record
        self._view.show_curves(curves, record.total_steps if record else None)

    def _on_presenter_recipe_loaded(self, recipe: Recipe) -> None:
        self._context.draft.load(recipe)
        self.page_requested.emit("recipe")

    def _show_actions(self) -> None:
        presenter = self._presenter
        is_ready, is_alive = presenter.is_ready_shown, presenter.is_alive
        self._controls.setVisible(not is_ready and is_alive)
        self._back.setVisible(is_ready and bool(presenter.folder))
        self._new.setVisible(not is_ready and not is_alive)
        if not is_ready:
            self.show_subtitle(presenter.record.name if presenter.record else "")
