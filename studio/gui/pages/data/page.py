"""The data page: the files that are learnt from, and what becomes of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QFileDialog, QStackedWidget, QVBoxLayout, QWidget

from studio.gui.context import Context
from studio.gui.forms.editors.lists import DATA_FILTER
from studio.gui.pages.data.files_card import FilesCard
from studio.gui.pages.data.hub_source import HubSourceButton
from studio.gui.pages.data.offers import DataOffers
from studio.gui.pages.data.raw_view import RawView
from studio.gui.pages.data.survey_view import SurveyView
from studio.gui.pages.data.tabs import DataTabs
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.hub.strip import DownloadStrip
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page


class DataPage(Page):
    """Chooses the training data of the draft and shows it."""

    def __init__(self, context: Context) -> None:
        super().__init__("Data", "The examples that the adapter learns from.", scrolls=False)
        self._context = context
        self._files = FilesCard()
        self._files.sources_edited.connect(partial(context.draft.set_value, "data.train"))
        self._files.source_selected.connect(self._on_source_selected)
        self._files.validation_edited.connect(partial(context.draft.set_value, "data.validation"))
        self._tabs = DataTabs()
        folder = context.draft.base_folder
        self._raw = RawView(context.background, context.feed, self._files, self._tabs, folder, self)
        self._notice = Notice()
        self._view = SurveyView(context, self._tabs, self._notice, self)
        self._view.source_examined.connect(self._files.show_examined)
        self._view.page_requested.connect(self.page_requested)
        starter = context.starter
        self._offers = DataOffers(starter.data_sets if starter else ())
        self._offers.files_requested.connect(self._on_add_clicked)
        self._offers.starter_chosen.connect(self._on_starter_chosen)
        self._stack = QStackedWidget()
        self._build_layout()
        context.draft.changed.connect(self._on_draft_changed)

    def show_part(self, part: str) -> None:
        """Shows one row: ``row``, the place of its file in the list, its number in the file."""
        kind, *numbers = part.split()
        if kind == "row":
            source, number = map(int, numbers)
            self._view.seek_row(source, number)

    def refresh(self) -> None:
        """Shows the draft's files and reads those that are new."""
        sources = self._context.draft.get_value("data.train")
        self._stack.setCurrentIndex(1 if sources else 0)
        self._next.setEnabled(bool(sources))
        self._files.show_sources(sources)
        self._files.show_validation(self._context.draft.get_value("data.validation"))
        for before, after in pairwise([self._next, *self._files.get_controls()]):
            self.setTabOrder(before, after)
        self._raw.show_files(sources)
        self._view.refresh()

    def take_paths(self, paths: Sequence[str]) -> None:
        """Adds files or folders to the training data, instead of what came with the starter.

        The starter's file stays in the list, switched off.
        """
        sources = self._context.draft.get_value("data.train")
        there = {Path(source["source"]) for source in sources}
        wanted = [Path(path) for path in paths]  # dialogs of Windows write C:/a, drops C:\\a
        new = [{"source": str(path)} for path in wanted if path not in there and path.exists()]
        if new:
            own = [self._switch_starter_off(source) for source in sources]
            self._context.draft.set_value("data.train", [*own, *new])

    def _switch_starter_off(self, source: dict[str, Any]) -> dict[str, Any]:
        starter = self._context.starter
        is_starter = starter and Path(source["source"]).is_relative_to(starter.folder)
        return {**source, "enabled": False} if is_starter else source

    def _build_layout(self) -> None:
        add = Button("&Add files…", "plus")
        add.clicked.connect(self._on_add_clicked)
        self._next = Button("&Next: Recipe", "arrow-right", "primary", icon_after=True)
        self._next.clicked.connect(lambda: self.page_requested.emit("recipe"))
        self.header_actions.addWidget(HubSourceButton(self._context))
        self.header_actions.addWidget(add)
        self.header_actions.addWidget(self._next)
        chosen = QWidget()
        box = QVBoxLayout(chosen)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.m)
        box.addWidget(self._files)
        box.addWidget(self._notice)
        box.addWidget(self._tabs, 1)
        self._stack.addWidget(self._offers)
        self._stack.addWidget(chosen)
        self.body.addWidget(self._stack, 1)
        self.body.addWidget(DownloadStrip(self._context.hub, "dataset"))

    def _on_add_clicked(self) -> None:
        paths, _filter = QFileDialog.getOpenFileNames(self, "Training data", "", DATA_FILTER)
        self.take_paths(paths)

    def _on_starter_chosen(self, name: str) -> None:
        starter = self._context.starter
        if starter is None:
            return
        data_set = starter.get_data_set(name)
        values: dict[str, Any] = {
            "data.train": [{"source": str(starter.folder / data_set.train_file)}]
        }
        if not self._context.draft.get_value("base.model"):
            self._context.draft.load(starter.build_recipe(data_set))
        else:
            self._context.draft.set_values(values)

    def _on_source_selected(self, place: int) -> None:
        self._raw.choose(place)
        self._view.show_source(place)

    def _on_draft_changed(self, _path: str) -> None:
        if self.isVisible():
            self.refresh()
