"""The Look inside page: where adapters change the base, how much, and how alike they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.inside.tables import build_modules_csv, build_similarities_csv
from studio.gui.bridge.adapter_selection import AdapterSelection
from studio.gui.context import Context
from studio.gui.pages.inside.likeness_card import LikenessCard
from studio.gui.pages.inside.maps_card import MapsCard
from studio.gui.pages.inside.presenter import InsideLook, InsidePresenter
from studio.gui.parts.adapter_picker import AdapterPicker
from studio.gui.parts.file_saver import FileSaver
from studio.gui.theme.picture import take_picture
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.empty_state import EmptyState
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page
from studio.gui.widgets.start_card import StartCard, build_setup

_WORDS = "Where an adapter changes the base, how strongly, and in how many directions."
_FILES = (
    ("inside.png", "Picture (PNG)"),
    ("inside.csv", "All numbers (CSV)"),
    ("likeness.csv", "Likeness (CSV)"),
)
_NOTHING_YET = "Nothing measured yet"
_READY = "Press “Look inside” below. Each weight that the adapters change is measured once."
_EMPTY = (
    "Add one adapter to see which layers it changes most and whether its rank is used. Add "
    "several to see how alike they are: adapters that pull the same way, or against each other."
)


class InsidePage(Page):
    """Adapters, one button, and maps of what was measured."""

    def __init__(self, context: Context) -> None:
        super().__init__("Look inside", _WORDS, scrolls=False)
        self._context = context
        self._look: InsideLook | None = None
        self._selection = AdapterSelection(context.feed.store, context.background, self)
        self._presenter = InsidePresenter(context.feed, self._selection, self)
        self._notice = Notice()
        self._saver = FileSaver(context.background, self._notice)
        self._models = Card("Adapters", "All of the same base.")
        self._models.body.addWidget(AdapterPicker(self._selection))
        self._empty = EmptyState("eye", _NOTHING_YET, _EMPTY)
        self._maps, self._likeness = MapsCard(), LikenessCard()
        self._start = StartCard("Look inside")
        self._save = Button("Save as…", "download")
        self._save.clicked.connect(self._show_menu)
        self.header_actions.addWidget(self._save)
        self._result = QWidget()
        results = QVBoxLayout(self._result)
        results.setContentsMargins(0, 0, 0, 0)
        results.setSpacing(SIZES.m)
        results.addWidget(self._maps)
        results.addWidget(self._likeness)
        cards = (self._models, self._empty, self._result)
        setup, self._scroll = build_setup(cards, self._start)
        self.body.setContentsMargins(SIZES.xl, SIZES.s, SIZES.m, SIZES.m)
        self.body.setSpacing(SIZES.m)
        self.body.addWidget(self._notice)
        self.body.addWidget(setup, 1)
        self._connect()

    def show_run(self, folder: str) -> None:
        """Adds the adapter of the run in a folder."""
        self._selection.add_run(folder)

    def refresh(self) -> None:
        """Reads which adapters there are."""
        self._selection.refresh()

    def _connect(self) -> None:
        presenter, start = self._presenter, self._start
        self._selection.refused.connect(self._notice.show_error)
        self._selection.changed.connect(self._on_selection_changed)
        presenter.progressed.connect(start.show_progress)
        presenter.finished.connect(self._on_presenter_finished)
        presenter.stopped.connect(self._show_obstacle)
        presenter.failed.connect(self._on_presenter_failed)
        start.start_requested.connect(self._on_start_requested)
        start.stop_requested.connect(presenter.job.stop)
        self._show_look(None)
        self._show_obstacle()

    def _show_obstacle(self) -> None:
        if not self._presenter.job.is_busy:
            self._start.show_idle(self._presenter.obstacle)

    def _on_selection_changed(self) -> None:
        words = _READY if self._selection.adapters else _EMPTY
        self._empty.show_reason("eye", _NOTHING_YET, words)
        self._show_obstacle()

    def _show_look(self, look: InsideLook | None) -> None:
        self._look = look
        self._empty.setVisible(look is None)
        self._result.setVisible(look is not None)
        self._save.setVisible(look is not None)
        if look is not None:
            self._maps.show_look(look)
            self._likeness.show_look(look)

    def _on_start_requested(self) -> None:
        self._notice.clear()
        self._presenter.start()

    def _on_presenter_finished(self, look: InsideLook) -> None:
        self._show_look(look)
        self._show_obstacle()
        bar = self._scroll.verticalScrollBar()
        QTimer.singleShot(0, self, lambda: bar.setValue(self._result.y()))

    def _on_presenter_failed(self, error: StudioError) -> None:
        self._notice.show_error(error)
        self._show_obstacle()

    def _show_menu(self) -> None:
        has_pairs = self._look is not None and bool(self._look.similar)
        self._saver.show_menu(self._save, _FILES if has_pairs else _FILES[:2], self._ask_and_save)

    def _ask_and_save(self, kind: str) -> None:
        self._saver.ask(self, kind, self._prepare(kind))

    def save_file(self, path: Path, kind: str) -> None:
        """Writes what is shown: ``inside.png``, ``inside.csv`` or ``likeness.csv``."""
        self._saver.save(path, self._prepare(kind))

    def _prepare(self, kind: str) -> Callable[[], bytes | str]:
        """Returns what makes the content of a file; pictures are taken at once."""
        look = self._look or InsideLook((), ())
        if kind == "inside.png":
            picture = take_picture(self._result)
            return lambda: picture
        if kind == "likeness.csv":
            return lambda: build_similarities_csv(look.similar)
        return lambda: build_modules_csv(look.adapters)
