"""Every measured row, sorted by what an adapter gained or lost there."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from studio.core.events.measures import RowEvaluated
from studio.core.results.metrics import format_value
from studio.core.results.result import EvaluationResult, find_advantage
from studio.gui.widgets.labels import plain_tooltip

_Index = QModelIndex | QPersistentModelIndex
_DISPLAY = int(Qt.ItemDataRole.DisplayRole)
_HEADS = ("Row", "Question", "Value", "Difference")


class RowModel(QAbstractTableModel):
    """The rows of a result for one measure, one column and one order."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[RowEvaluated, float | None, float | None]] = []
        self._metric = ""

    def replace(self, result: EvaluationResult, metric: str, column: str, order: str) -> None:
        """Shows other rows: ``order`` is ``gained``, ``lost`` or ``row``.

        Gained means: more of a measure of which more is better, or less of the others.
        """
        self.beginResetModel()
        self._metric = metric
        first = result.summary.columns[0]
        self._rows = [
            (
                row,
                row.scores.get(column, {}).get(metric),
                find_advantage(row, metric, column, first),
            )
            for row in result.rows
        ]
        score = result.summary.find_score(metric, column)
        sign = 1.0 if score is None or score.is_higher_better else -1.0
        if order != "row":
            way = -sign if order == "gained" else sign
            self._rows.sort(key=lambda one: (one[2] is None, way * (one[2] or 0.0), one[0].row))
        self.endResetModel()

    def get_row(self, index: int) -> RowEvaluated | None:
        """Returns the row at a place, None outside."""
        return self._rows[index][0] if 0 <= index < len(self._rows) else None

    def rowCount(self, parent: _Index | None = None) -> int:  # noqa: N802 - Qt's name
        """Returns the number of rows."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: _Index | None = None) -> int:  # noqa: N802 - Qt's name
        """Returns the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(_HEADS)

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = _DISPLAY
    ) -> Any:
        """Returns the name of a column."""
        if role != _DISPLAY or orientation == Qt.Orientation.Vertical:
            return None
        return _HEADS[section]

    def data(self, index: _Index, role: int = _DISPLAY) -> Any:
        """Returns the text of a cell, or the whole question on hover."""
        if not index.isValid():
            return None
        row, value, difference = self._rows[index.row()]
        if role == int(Qt.ItemDataRole.ToolTipRole):
            return plain_tooltip(row.prompt[:600])
        if role == int(Qt.ItemDataRole.TextAlignmentRole) and index.column() != 1:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role != _DISPLAY:
            return None
        if index.column() == 0:
            return str(row.row)
        if index.column() == 1:
            return " ".join(row.prompt[:200].split()) or "(running text)"
        if index.column() == 2:
            return "" if value is None else format_value(self._metric, value)
        if difference is None:
            return ""
        sign = "+" if difference > 0 else "-" if difference < 0 else ""
        return sign + format_value(self._metric, abs(difference))


class RowTable(QTableView):
    """The rows as a list; choosing one tells which.

    Signals:
        row_chosen: The ``RowEvaluated`` to show in full.
    """

    row_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = RowModel()
        self.setModel(self.rows)
        self.setAccessibleName("Measured rows")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)  # a question has one line, shortened where it ends
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(30)
        header = self.horizontalHeader()
        for column, width in ((0, 56), (2, 80), (3, 90)):
            header.resizeSection(column, width)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.selectionModel().currentRowChanged.connect(
            lambda current, _: self.row_chosen.emit(self.rows.get_row(current.row()))
        )

    def show_rows(self, result: EvaluationResult, metric: str, column: str, order: str) -> None:
        """Shows other rows and chooses the first."""
        self.rows.replace(result, metric, column, order)
        if self.rows.rowCount():
            self.selectRow(0)
        else:
            self.row_chosen.emit(None)
