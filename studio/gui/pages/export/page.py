"""The Export page: an adapter becomes files for other tools, checked by loading them again."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog

from studio.core.errors import StudioError
from studio.gui.bridge.export_check import ExportCheck
from studio.gui.bridge.export_history import ExportHistory, ExportRecord
from studio.gui.bridge.giving import Giver
from studio.gui.bridge.run_catalog import RunCatalog
from studio.gui.context import Context
from studio.gui.pages.export.check_desk import CheckDesk
from studio.gui.pages.export.choices import FOLDER_KEY, get_start_folder, open_folder
from studio.gui.pages.export.giving_desk import GivingDesk
from studio.gui.pages.export.history_card import HistoryCard
from studio.gui.pages.export.place_card import PlaceCard
from studio.gui.pages.export.presenter import ExportPresenter, Place
from studio.gui.pages.export.result_card import ResultCard
from studio.gui.pages.export.source_card import SourceCard
from studio.gui.pages.export.source_desk import SourceDesk
from studio.gui.pages.export.tool_card import ToolCard
from studio.gui.pages.export.tools import TOOLS
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page


class ExportPage(Page):
    """Three choices, one button, the proof, and the next step in the tool itself."""

    def __init__(self, context: Context) -> None:
        super().__init__("Export", "Files for other tools, loaded again and compared.")
        self._context = context
        feed, background = context.feed, context.background
        history = ExportHistory(context.home.settings / "exports.json")
        self._presenter = ExportPresenter(feed, background, history, self)
        self._notice = Notice()
        self._source = SourceCard()
        self._tools = ToolCard()
        self._place = PlaceCard()
        self._result = ResultCard()
        self._history = HistoryCard()
        upper = (self._notice, self._result, self._source)
        for widget in (*upper, self._tools, self._place, self._history):
            self.body.addWidget(widget)
        self.body.addStretch(1)
        self.header_actions.addWidget(self._place.export)
        self.header_actions.addWidget(self._place.stop)
        catalog = RunCatalog(feed.store)
        self._sources = SourceDesk(catalog, background, self._presenter, self._source)
        check = ExportCheck(feed, background, self)
        self._checks = CheckDesk(check, self._presenter, self._tools)
        giver = Giver(feed, background, context.gate, context.preferences, self)
        self._desk = GivingDesk(giver, background, self._result, self)
        self._connect()
        self._presenter.choose_tool(TOOLS[0].key)
        self._presenter.choose_folder(get_start_folder(context.preferences))
        self._presenter.load_history()

    def show_run(self, folder: str) -> None:
        """Chooses the adapter of the run in a folder."""
        self._result.hide()
        self._sources.refresh(folder)

    def refresh(self) -> None:
        """Reads which adapters there are."""
        self._sources.refresh()

    def add_folder(self, folder: Path) -> None:
        """Chooses the adapter in a folder, or says what is wrong with it."""
        self._sources.add_folder(folder)

    def _connect(self) -> None:
        presenter, place = self._presenter, self._place
        presenter.changed.connect(self._on_presenter_changed)
        presenter.place_found.connect(self._on_presenter_place_found)
        presenter.progressed.connect(place.show_progress)
        presenter.finished.connect(self._on_presenter_finished)
        presenter.stopped.connect(self._on_presenter_stopped)
        presenter.failed.connect(self._on_presenter_failed)
        presenter.history_loaded.connect(self._history.show_records)
        self._sources.chosen.connect(self._notice.clear)
        self._sources.failed.connect(self._notice.show_error)
        self._checks.failed.connect(self._notice.show_error)
        place.folder_requested.connect(self._on_place_folder_requested)
        place.export_requested.connect(self._on_place_export_requested)
        place.stop_requested.connect(presenter.stop)
        self._history.chosen.connect(self._show_record)
        self._result.open_requested.connect(open_folder)

    def _show_record(self, record: ExportRecord) -> None:
        self._desk.show_record(record)
        self._result.take_focus()
        self.show_top()

    def _on_place_export_requested(self) -> None:
        self._notice.clear()
        if self._checks.is_blocked:
            self._place.show_words("These files would not work. Choose a change in step 2 first.")
            self.show_widget(self._tools.point_at_finding())
            return
        self._presenter.start()
        self.show_widget(self._place)

    def _on_presenter_changed(self) -> None:
        place = self._presenter.place
        if place is not None:
            self._on_presenter_place_found(place)
            return
        self._place.show_place(str(self._presenter.parent_folder or ""), None, None)
        self._show_idle()

    def _on_presenter_place_found(self, place: Place) -> None:
        self._place.show_place(str(place.target), place.free_bytes, place.needed_bytes)
        self._show_idle()

    def _on_presenter_finished(self, record: ExportRecord) -> None:
        self._show_record(record)
        self._context.journey.mark("export", is_done=True)

    def _on_presenter_stopped(self) -> None:
        self._notice.show_message("note", "The export was stopped.", "Nothing was left behind.")
        self.show_top()

    def _on_presenter_failed(self, error: StudioError) -> None:
        self._notice.show_error(error)
        self.show_top()
        self._show_idle()

    def _show_idle(self) -> None:
        if not self._presenter.is_busy:
            self._place.show_idle(self._presenter.reason)

    def _on_place_folder_requested(self) -> None:
        start = str(self._presenter.parent_folder or "")
        folder = QFileDialog.getExistingDirectory(self, "Choose where the export goes", start)
        if folder:
            self._context.preferences.keep(FOLDER_KEY, folder)
            self._presenter.choose_folder(Path(folder))
