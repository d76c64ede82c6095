"""Row by row: the list with its order, and the chosen row beside it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QGridLayout, QSplitter, QVBoxLayout, QWidget

from studio.core.results.metrics import find_metric
from studio.core.results.result import EvaluationResult
from studio.gui.pages.evaluate.row_detail import RowDetail
from studio.gui.pages.evaluate.row_list import RowTable
from studio.gui.theme.tokens import SIZES

_ORDERS = (("lost", "Lost most first"), ("gained", "Gained most first"), ("row", "In file order"))


class RowsView(QWidget):
    """Every row of an evaluation, sorted by the difference from the first column."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._result: EvaluationResult | None = None
        self._metric, self._column, self._order = QComboBox(), QComboBox(), QComboBox()
        for key, words in _ORDERS:
            self._order.addItem(words, key)
        for box, name in (
            (self._metric, "Measure"),
            (self._column, "Model"),
            (self._order, "Order of the rows"),
        ):
            box.setAccessibleName(name)
            box.setMinimumContentsLength(8)
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            box.activated.connect(lambda _: self._show())
        self._table = RowTable()
        self._detail = RowDetail()
        self._table.row_chosen.connect(self._detail.show_row)
        choices = QGridLayout()
        choices.setSpacing(SIZES.s)
        choices.addWidget(self._order, 0, 0, 1, 2)
        choices.addWidget(self._metric, 1, 0)
        choices.addWidget(self._column, 1, 1)
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, SIZES.s, 0)
        column.setSpacing(SIZES.s)
        column.addLayout(choices)
        column.addWidget(self._table, 1)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(left)
        splitter.addWidget(self._detail)
        splitter.setSizes([500, 500])
        box_layout = QVBoxLayout(self)
        box_layout.setContentsMargins(0, 0, 0, 0)
        box_layout.addWidget(splitter)

    def show_result(self, result: EvaluationResult) -> None:
        """Shows the rows of an evaluation."""
        self._result = result
        self._metric.clear()
        for metric in result.summary.metrics:
            words = find_metric(metric)
            self._metric.addItem(words.label if words else metric, metric)
        self._column.clear()
        for name in result.summary.columns[1:] or result.summary.columns:
            self._column.addItem(name[:60], name)
        self._show()

    def show_metric(self, metric: str) -> None:
        """Sorts by another measure."""
        index = self._metric.findData(metric)
        if index >= 0 and index != self._metric.currentIndex():
            self._metric.setCurrentIndex(index)
            self._show()

    def _show(self) -> None:
        if self._result is None or self._metric.currentIndex() < 0:
            return
        keys = (box.currentData() for box in (self._metric, self._column, self._order))
        metric, column, order = map(str, keys)
        self._table.show_rows(self._result, metric, column, order)
