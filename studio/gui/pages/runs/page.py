"""The Runs page: every run started here or brought in, with its curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QLineEdit, QSplitter, QStackedLayout, QVBoxLayout, QWidget

from studio.gui.bridge.run_catalog import RunRow
from studio.gui.context import Context
from studio.gui.pages.runs.actions import RunActions
from studio.gui.pages.runs.confirm import confirm_deletion
from studio.gui.pages.runs.import_desk import ImportDesk
from studio.gui.pages.runs.overlay import OverlayPanel
from studio.gui.pages.runs.presenter import RunsPresenter
from studio.gui.pages.runs.table import RunTable
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.empty_state import EmptyState
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page

Confirm = Callable[[QWidget, Sequence[RunRow], int], bool]


class RunsPage(Page):
    """The history as a table; opening a run shows its own frozen recipe."""

    def __init__(self, context: Context, confirm: Confirm = confirm_deletion) -> None:
        super().__init__("Runs", "Everything you have trained.", scrolls=False)
        self._context = context
        self._confirm = confirm
        self._wanted = ""
        self._presenter = RunsPresenter(context.feed, context.background, self)
        self._notice = Notice()
        self._desk = ImportDesk(context, self, self._notice)
        self._search = QLineEdit()
        self._search.setPlaceholderText("Search by name, state, base or data")
        self._search.setAccessibleName("Search runs")
        self._search.setClearButtonEnabled(True)
        self._search.setFixedWidth(300)
        self._table = RunTable()
        self._actions = RunActions()
        self._overlay = OverlayPanel()
        self._empty = EmptyState(
            "runs",
            "No runs yet",
            "Every run you start is kept here with its recipe and curves. An adapter that was "
            "trained elsewhere can be imported, or dropped here.",
            "Choose a model",
        )
        self._stack = QStackedLayout()
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self._build_content())
        self.header_actions.addWidget(self._search)
        self.header_actions.addWidget(self._desk.button)
        self.body.setContentsMargins(SIZES.xl, SIZES.xs, SIZES.xl, SIZES.l)
        self.body.addWidget(self._notice)
        self.body.addLayout(self._stack, 1)
        self._search.hide()
        self._connect()

    def show_run(self, folder: str) -> None:
        """Selects the run in a folder."""
        self._table.select_run(folder)

    def take_paths(self, paths: Sequence[str]) -> None:
        """Imports adapter folders and capsules."""
        self._desk.importer.bring(paths)

    def refresh(self) -> None:
        """Reads the history again."""
        self._presenter.load()

    def _build_content(self) -> QWidget:
        upper = QWidget()
        box = QVBoxLayout(upper)
        box.setContentsMargins(0, 0, 0, SIZES.s)
        box.setSpacing(SIZES.s)
        box.addWidget(self._actions)
        box.addWidget(self._table, 1)
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(upper)
        splitter.addWidget(self._overlay)
        splitter.setSizes([320, 240])
        return splitter

    def _connect(self) -> None:
        presenter, table = self._presenter, self._table
        presenter.rows_loaded.connect(self._on_presenter_rows_loaded)
        presenter.record_changed.connect(table.show_record)
        presenter.curves_loaded.connect(self._overlay.show_runs)
        presenter.deletion_measured.connect(self._on_presenter_deletion_measured)
        presenter.failed.connect(self._notice.show_error)
        self._desk.imported.connect(self._on_desk_imported)
        table.open_requested.connect(lambda folder: self.run_requested.emit("train", folder))
        table.rename_requested.connect(presenter.rename)
        table.delete_requested.connect(lambda: self._on_actions_requested("delete"))
        table.menu_requested.connect(self._on_table_menu_requested)
        table.selection_changed.connect(self._on_table_selection_changed)
        self._search.textChanged.connect(table.show_filter)
        self._actions.requested.connect(self._on_actions_requested)
        self._empty.action_requested.connect(lambda: self.page_requested.emit("model"))

    def _on_presenter_rows_loaded(self, rows: list[RunRow]) -> None:
        self._stack.setCurrentIndex(1 if rows else 0)
        self._search.setVisible(bool(rows))
        self._table.show_rows(rows)
        if self._wanted:
            self._table.select_run(self._wanted)
            self._wanted = ""

    def _on_table_selection_changed(self, rows: list[RunRow]) -> None:
        self._actions.show_selection(rows)
        self._presenter.load_curves(rows)

    def _on_table_menu_requested(self, point: QPoint) -> None:
        self._actions.show_menu(point)

    def _on_actions_requested(self, key: str) -> None:
        rows = self._table.selected_rows
        if not rows:
            return
        self._notice.clear()
        if key == "base":
            self._desk.ask_base(rows[0].folder)
        elif key == "rename":
            self._table.rename_selected()
        elif key == "delete":
            self._presenter.measure_deletion(rows)
        elif key == "continue":
            self._presenter.train_further(rows[0], self._context.draft)
            self.page_requested.emit("data")
        elif key == "rows":
            self.part_requested.emit("train", rows[0].folder, "rows")
        elif key == "resume":
            self._context.feed.resume(rows[0].folder)
            self.run_requested.emit("train", rows[0].folder)
        else:
            for row in rows:  # only Compare takes several
                self.run_requested.emit("train" if key == "open" else key, row.folder)

    def _on_desk_imported(self, folder: str) -> None:
        self._wanted = folder
        self._presenter.load()

    def _on_presenter_deletion_measured(self, rows: list[RunRow], size_bytes: int) -> None:
        if self._confirm(self, rows, size_bytes):
            self._presenter.delete(rows)
