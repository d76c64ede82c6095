"""Between the run that is shown, its rows, and the recipe of the next run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QFileDialog

from studio.core.microscope.exclusion import build_recipe_without
from studio.core.microscope.report import RowReport, save_csv
from studio.core.microscope.stories import RowList, RowStory
from studio.core.recipe.schema import Recipe
from studio.core.runs.exporting import find_base_folder
from studio.core.runs.layout import RunLayout
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore
from studio.gui.bridge.row_watch import RowLists, RowWatch
from studio.gui.context import Context
from studio.gui.pages.train.rows_panel import RowsPanel
from studio.gui.widgets.notice import Notice

_TEXT_DELAY_MS = 120


class RowsPresenter(QObject):
    """Reads rows while the panel is visible and carries out what is wished there.

    Signals:
        prepared: The draft leaves rows out now.
        row_requested: The Data page shall show this part: ``row SOURCE NUMBER``.
    """

    prepared = Signal()
    row_requested = Signal(str)

    def __init__(self, context: Context, notice: Notice, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = context.feed.store
        self._background = context.background
        self._draft = context.draft
        self._notice = notice
        self._record: RunRecord | None = None
        self._watch = RowWatch(context.feed, context.background, self)
        self._wanted: list[RowStory] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_TEXT_DELAY_MS)
        self._timer.timeout.connect(self._ask_for_texts)
        self.panel = RowsPanel(self._watch.find_text)
        self._connect()

    def show_record(self, record: RunRecord) -> None:
        """Follows another run, or the same one a little later."""
        before, self._record = self._record, record
        self.panel.show_adapter(record.adapter_folder is not None)
        if before is None or before.folder != record.folder:
            self._watch.stop()
            self.panel.show_lists(RowLists())
        is_same = before is not None and before.folder == record.folder
        is_known = is_same and before is not None and before.is_active == record.is_active
        if self.panel.isVisible() and not is_known:
            self._look()

    def _connect(self) -> None:
        panel, watch = self.panel, self._watch
        panel.shown.connect(self._look)
        panel.texts_wanted.connect(self._on_panel_texts_wanted)
        panel.leave_out_requested.connect(self._on_panel_leave_out_requested)
        panel.open_requested.connect(self._on_panel_open_requested)
        panel.save_requested.connect(self._on_panel_save_requested)
        watch.lists_changed.connect(self._on_watch_lists_changed)
        watch.texts_changed.connect(panel.show_texts)
        watch.failed.connect(self._notice.show_error)

    def _look(self) -> None:
        record = self._record
        if record is not None and record.folder != Path():
            self._watch.follow(str(record.folder), is_live=record.is_active)

    def _on_watch_lists_changed(self, lists: RowLists) -> None:
        self.panel.show_lists(lists)
        if not self.panel.isVisible():
            self._watch.stop()

    def _on_panel_texts_wanted(self, stories: list[RowStory]) -> None:
        self._wanted = stories
        self._timer.start()

    def _ask_for_texts(self) -> None:
        if self.panel.isVisible():
            self._watch.ask_for_texts(self._wanted)

    def _on_panel_leave_out_requested(self, stories: list[RowStory], goes_on: bool) -> None:
        record, report = self._record, self._watch.lists.report
        if record is None:
            return
        marks = list_marks(report, stories)
        adapter = record.adapter_folder if goes_on else None
        self._background.start(
            lambda _: load_recipe_without(self._store, record, marks, adapter),
            lambda recipe: self._on_recipe_built(recipe, len(stories)),
            self._notice.show_error,
        )

    def _on_recipe_built(self, recipe: Recipe, count: int) -> None:
        self._draft.load(recipe)
        rows = "1 row is" if count == 1 else f"{count:,} rows are"
        self.prepared.emit()
        self._notice.show_message(
            "success",
            f"{rows} left out of the next run.",
            "Your files stay as they are. Undo on the Recipe page takes it back.",
        )

    def _on_panel_open_requested(self, story: RowStory) -> None:
        report, record = self._watch.lists.report, self._record
        origin = report.find_origin(story)
        if origin is None or record is None:
            return
        self._background.start(
            lambda _: load_recipe_without(self._store, record, (), None),
            lambda recipe: self._on_data_found(recipe, origin.source, origin.number),
            self._notice.show_error,
        )

    def _on_data_found(self, recipe: Recipe, source: int, number: int) -> None:
        """Shows the row among the draft's files; where they are others, the run's come there."""
        wanted = recipe.data.active_train[source].source
        there = [one["source"] for one in self._draft.get_value("data.train")]
        if wanted not in there:
            self._draft.load(recipe)
            there = [one["source"] for one in self._draft.get_value("data.train")]
        self.row_requested.emit(f"row {there.index(wanted)} {number}")

    def _on_panel_save_requested(self, name: RowList) -> None:
        path, _filter = QFileDialog.getSaveFileName(
            self.panel, "Save the list", f"{name}.csv", "Tables (*.csv)"
        )
        if path:
            self.save(name, Path(path))

    def save(self, name: RowList, path: Path) -> None:
        """Writes all rows of a list as CSV."""
        report = self._watch.lists.report
        self._background.start(
            lambda _: save_csv(report, report.pick(name), path),
            lambda _: self._notice.show_message("success", f"Saved: {path}"),
            self._notice.show_error,
        )


def load_recipe_without(
    store: RunStore, record: RunRecord, marks: Sequence[str], adapter: str | None
) -> Recipe:
    """Return a run's recipe with whole paths that leaves rows out; slow, as files are."""
    start = find_base_folder(RunLayout(record.folder)) or record.folder
    resume_from = None if adapter is None else Path(adapter)
    return build_recipe_without(store.load_recipe(record), marks, Path(start), resume_from)


def list_marks(report: RowReport, stories: Sequence[RowStory]) -> list[str]:
    """Return the marks by which a recipe leaves rows out."""
    origins = [report.find_origin(one) for one in stories]
    return [origin.mark for origin in origins if origin is not None]
