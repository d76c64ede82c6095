"""The Export page: an adapter becomes files for other tools, checked by loading them again."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog

from studio.core.errors import StudioError
from studio.gui.bridge.adapter_choice import AdapterChoice, load_choice
from studio.gui.bridge.export_history import ExportHistory, ExportRecord
from studio.gui.bridge.run_catalog import RunCatalog, RunRow
from studio.gui.context import Context
from studio.gui.pages.export.choices import (
    FOLDER_KEY,
    find_choice,
    get_start_folder,
    merge_choices,
    open_folder,
)
from studio.gui.pages.export.format_card import FormatCard
from studio.gui.pages.export.history_card import HistoryCard
from studio.gui.pages.export.place_card import PlaceCard
from studio.gui.pages.export.presenter import ExportPresenter, Place
from studio.gui.pages.export.result_card import ResultCard
from studio.gui.pages.export.source_card import SourceCard
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page


class ExportPage(Page):
    """Three choices, one button, and the proof."""

    def __init__(self, context: Context) -> None:
        super().__init__("Export", "Files for other tools, loaded again and compared.")
        self._context = context
        self._catalog = RunCatalog(context.feed.store)
        self._choices: list[AdapterChoice] = []
        self._picked: list[AdapterChoice] = []
        self._wanted = ""
        history = ExportHistory(context.home.settings / "exports.json")
        self._presenter = ExportPresenter(context.feed, context.background, history, self)
        self._notice = Notice()
        self._source = SourceCard()
        self._format = FormatCard()
        self._place = PlaceCard()
        self._result = ResultCard()
        self._history = HistoryCard()
        upper = (self._notice, self._result, self._source)
        for widget in (*upper, self._format, self._place, self._history):
            self.body.addWidget(widget)
        self.body.addStretch(1)
        self._connect()
        self._presenter.choose_target("adapter")
        self._presenter.choose_folder(get_start_folder(context.preferences))
        self._presenter.load_history()

    def show_run(self, folder: str) -> None:
        """Chooses the adapter of the run in a folder."""
        self._wanted = folder
        self._result.hide()
        self.refresh()

    def refresh(self) -> None:
        """Reads which adapters there are."""
        self._context.background.start(
            lambda _: self._catalog.load(), self._on_rows_loaded, self._notice.show_error
        )

    def add_folder(self, folder: Path) -> None:
        """Chooses the adapter in a folder, or says what is wrong with it."""
        self._context.background.start(
            lambda _: load_choice(folder), self._on_choice_loaded, self._notice.show_error
        )

    def _connect(self) -> None:
        presenter, place = self._presenter, self._place
        presenter.changed.connect(self._on_presenter_changed)
        presenter.place_found.connect(self._on_presenter_place_found)
        presenter.progressed.connect(place.show_progress)
        presenter.finished.connect(self._on_presenter_finished)
        presenter.stopped.connect(self._on_presenter_stopped)
        presenter.failed.connect(self._on_presenter_failed)
        presenter.history_loaded.connect(self._history.show_records)
        self._source.chosen.connect(presenter.choose)
        self._source.folder_requested.connect(self._on_source_folder_requested)
        self._format.chosen.connect(presenter.choose_target)
        self._format.quant_chosen.connect(presenter.choose_quant)
        place.folder_requested.connect(self._on_place_folder_requested)
        place.export_requested.connect(self._notice.clear)
        place.export_requested.connect(presenter.start)
        place.stop_requested.connect(presenter.stop)
        self._history.chosen.connect(self._result.show_record)
        self._result.open_requested.connect(open_folder)

    def _on_rows_loaded(self, rows: list[RunRow]) -> None:
        self._choices = merge_choices(rows, self._picked)
        wanted, self._wanted = self._wanted, ""
        current = self._presenter.choice
        choice = find_choice(rows, self._choices, wanted, current)
        if choice != current:
            self._presenter.choose(choice)
        self._source.show_choices(self._choices, choice)

    def _on_choice_loaded(self, choice: AdapterChoice) -> None:
        self._notice.clear()
        self._picked.append(choice)
        self._choices.append(choice)
        self._presenter.choose(choice)

    def _on_presenter_changed(self) -> None:
        self._source.show_choices(self._choices, self._presenter.choice)
        self._format.show_format(self._presenter.target, self._presenter.quant)
        self._place.show_place(str(self._presenter.parent_folder or ""), None, None)
        self._show_idle()

    def _on_presenter_place_found(self, place: Place) -> None:
        self._place.show_place(str(place.target), place.free_bytes, place.needed_bytes)
        self._show_idle()

    def _on_presenter_finished(self, record: ExportRecord) -> None:
        self._result.show_record(record)
        self.show_top()
        self._context.journey.mark("export", is_done=True)

    def _on_presenter_stopped(self) -> None:
        self._notice.show_message("note", "The export was stopped.", "Nothing was left behind.")

    def _on_presenter_failed(self, error: StudioError) -> None:
        self._notice.show_error(error)
        self._show_idle()

    def _show_idle(self) -> None:
        is_busy = self._presenter.is_busy
        self._source.setEnabled(not is_busy)
        self._format.setEnabled(not is_busy)
        if not is_busy:
            self._place.show_idle(self._presenter.reason)

    def _on_source_folder_requested(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose an adapter folder")
        if folder:
            self.add_folder(Path(folder))

    def _on_place_folder_requested(self) -> None:
        start = str(self._presenter.parent_folder or "")
        folder = QFileDialog.getExistingDirectory(self, "Choose where the export goes", start)
        if folder:
            self._context.preferences.keep(FOLDER_KEY, folder)
            self._presenter.choose_folder(Path(folder))
