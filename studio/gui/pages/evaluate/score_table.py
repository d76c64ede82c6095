"""All values of an evaluation: a measure per line, a model per column."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from studio.core.events.measures import ColumnScore
from studio.core.results.metrics import find_metric, format_value
from studio.core.results.result import ResultSummary
from studio.core.results.words import describe_score, is_better
from studio.gui.theme.tokens import SIZES, Colours, colours_of
from studio.gui.widgets.labels import plain_tooltip

_ROW = 56
_HEADER = 36
_LINE_HEAD = 180
_LEAST_COLUMN = 120


class ScoreTable(QTableWidget):
    """Values with their intervals; green is better than the first column, red is worse.

    Signals:
        metric_chosen: The key of the measure of the chosen line.
    """

    metric_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._summary: ResultSummary | None = None
        self.setAccessibleName("Values by measure and model")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setWordWrap(True)
        self.setTextElideMode(Qt.TextElideMode.ElideNone)
        self.verticalHeader().setDefaultSectionSize(_ROW)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setFixedWidth(_LINE_HEAD)
        self.verticalHeader().setDefaultAlignment(
            Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextWordWrap
        )
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.itemSelectionChanged.connect(self._on_selection_changed)

    def show_summary(self, summary: ResultSummary) -> None:
        """Shows the values of an evaluation and chooses its first measure."""
        self._summary = summary
        self._fill(summary)
        self.selectRow(0)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Takes over the colours of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self._summary is not None:
            row = self.currentRow()
            self._fill(self._summary)
            self.selectRow(row)

    def _fill(self, summary: ResultSummary) -> None:
        self.clear()
        self.setRowCount(len(summary.metrics))
        self.setColumnCount(len(summary.columns))
        self.setHorizontalHeaderLabels([name[:60] for name in summary.columns])
        for row, metric in enumerate(summary.metrics):
            self.setVerticalHeaderItem(row, _build_header(metric))
            for column, name in enumerate(summary.columns):
                score = summary.find_score(metric, name)
                if score is not None:
                    self.setItem(row, column, _build_item(score, colours_of(self)))
        widest = max(map(self.sizeHintForColumn, range(self.columnCount())), default=0)
        self.horizontalHeader().setMinimumSectionSize(max(_LEAST_COLUMN, widest))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Makes room for the bar by which many columns are scrolled sideways."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Becomes as high as all lines: the page scrolls, not the table in it."""
        columns = self.horizontalHeader()
        room = self.width() - _LINE_HEAD - 2 * self.frameWidth()
        needs_bar = columns.minimumSectionSize() * self.columnCount() > room
        bar = self.horizontalScrollBar().sizeHint().height() if needs_bar else 0
        self.setFixedHeight(_HEADER + _ROW * self.rowCount() + SIZES.xs + bar)

    def _on_selection_changed(self) -> None:
        rows = self.selectionModel().selectedRows() if self._summary is not None else []
        if rows and self._summary is not None:
            self.metric_chosen.emit(self._summary.metrics[rows[0].row()])


def _build_header(metric: str) -> QTableWidgetItem:
    words = find_metric(metric)
    argument = metric.partition("=")[2]
    item = QTableWidgetItem((words.label if words else metric) + (f" {argument}"[:30]))
    item.setToolTip(plain_tooltip(words.help if words else metric))
    return item


def _build_item(score: ColumnScore, colours: Colours) -> QTableWidgetItem:
    value, low, high = (
        format_value(score.metric, number) for number in (score.value, score.low, score.high)
    )
    star = "  *" if score.is_significant else ""
    item = QTableWidgetItem(f"{value}{star}\n{low} to {high}")
    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
    item.setToolTip(plain_tooltip(describe_score(score)))
    if score.is_significant:
        item.setForeground(QBrush(QColor(colours.success if is_better(score) else colours.error)))
    return item
