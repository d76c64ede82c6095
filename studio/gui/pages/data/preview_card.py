"""Two looks at the data: as it is written, and as the model sees it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.events.types import DataProblemFound, RowPreviewed
from studio.gui.bridge.raw_rows import RawRows
from studio.gui.forms.editors.lists import RowsBox
from studio.gui.pages.data.raw_table import RawTable
from studio.gui.pages.data.token_view import TokenView
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.empty_state import EmptyState
from studio.gui.widgets.notice import Notice


class PreviewTabs(QTabWidget):
    """The raw rows and the model's view; passive.

    Signals:
        model_view_requested: Run the preview job.
        way_out_requested: The user wants the page that mends what forbids the preview.
    """

    model_view_requested = Signal()
    way_out_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDocumentMode(True)
        self.tabBar().setDrawBase(False)
        self.setAccessibleName("Views of the data")
        self.tabBar().setAccessibleName("Views of the data")
        self._raw_notice = Notice()
        self._table = RawTable()
        self._start = EmptyState("eye", "", "", "")
        self._start.action_requested.connect(self._on_start_pressed)
        self._is_ready = False
        self._tokens = TokenView()
        self._problems = RowsBox()
        self._stack = QStackedWidget()
        self._stack.addWidget(self._start)
        self._stack.addWidget(self._tokens)
        self.addTab(_build_tab(self._raw_notice, self._table), "Rows as written")
        self._model_tab = QWidget()
        box = QVBoxLayout(self._model_tab)
        box.setContentsMargins(0, SIZES.m, 0, 0)
        box.setSpacing(SIZES.s)
        box.addLayout(self._problems)
        box.addWidget(self._stack, 1)
        self.addTab(self._model_tab, "As the model sees it")

    def show_rows(self, raw: RawRows) -> None:
        """Shows the first rows of a file."""
        self._raw_notice.clear()
        self._table.show()
        self._table.show_rows(raw)

    def show_raw_error(self, error: StudioError) -> None:
        """Shows why a file cannot be read."""
        self._table.hide()
        self._raw_notice.show_error(error)

    def show_ready(self) -> None:
        """Offers to run the preview."""
        self._is_ready = True
        self._reset()
        self._start.show_reason(
            "eye",
            "What is trained, token by token",
            "Reads the first rows with the model's own tokenizer and template and marks what the "
            "model learns to write. Nothing is trained.",
            "Show how the model sees it",
        )

    def show_forbidden(self, title: str, sentence: str, action: str) -> None:
        """Shows why the preview cannot run yet and the way out."""
        self._is_ready = False
        self._reset()
        self._start.show_reason("lock", title, sentence, action)

    def show_working(self) -> None:
        """Shows that the preview job runs."""
        self._reset()
        self._start.show_reason("eye", "Reading the rows …", "This takes a few seconds.", "")

    def show_model_row(self, row: RowPreviewed) -> None:
        """Adds a row as the model sees it."""
        self._stack.setCurrentWidget(self._tokens)
        self._tokens.add_row(row)

    def show_problem(self, problem: DataProblemFound) -> None:
        """Adds a problem of the data."""
        rows = f" ({problem.rows:,} rows)" if problem.rows else ""
        severity = "error" if problem.is_fatal else "warning"
        self._add_notice(severity, f"{problem.message}{rows}", problem.remedy)

    def show_failure(self, error: StudioError) -> None:
        """Shows why the preview job failed."""
        self._add_notice("error", error.message, error.remedy)
        if self._stack.currentWidget() is self._start:
            self._start.show_reason(
                "warning", "The preview did not work", error.remedy or error.message, "Try again"
            )

    def _add_notice(self, severity: str, message: str, remedy: str) -> None:
        notice = Notice()
        self._problems.addWidget(notice)
        kind = "error" if severity == "error" else "warning"
        notice.show_message(kind, message, remedy)  # type: ignore[arg-type]  # one of two words

    def _reset(self) -> None:
        self._problems.clear()
        self._tokens.clear()
        self._stack.setCurrentWidget(self._start)

    def _on_start_pressed(self) -> None:
        if self._is_ready:
            self.model_view_requested.emit()
        else:
            self.way_out_requested.emit()


def _build_tab(*widgets: QWidget) -> QWidget:
    tab = QWidget()
    box = QVBoxLayout(tab)
    box.setContentsMargins(0, SIZES.m, 0, 0)
    box.setSpacing(SIZES.s)
    for widget in widgets:
        box.addWidget(widget)
    return tab
