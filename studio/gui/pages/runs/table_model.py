"""The history as a table: one row per run, sortable, the name editable in place."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
    Signal,
)

from studio.core.runs.record import RunRecord
from studio.core.runs.words import describe_state
from studio.core.units import UNKNOWN, format_duration, format_loss
from studio.gui.bridge.run_catalog import RunRow
from studio.gui.widgets.labels import plain_tooltip

Index = QModelIndex | QPersistentModelIndex
SORT_ROLE = Qt.ItemDataRole.UserRole
ROW_ROLE = Qt.ItemDataRole.UserRole + 1
NAME_COLUMN = 0
STATUS_COLUMN = 1
_LAST = float("inf")


@dataclass(frozen=True)
class Column:
    """One column: its title, what a cell says, what it is sorted by, and where it stands."""

    title: str
    get_text: Callable[[RunRow], str]
    get_order: Callable[[RunRow], str | float]
    is_number: bool = False


def _describe_steps(row: RunRow) -> str:
    record = row.record
    if record.status != "finished" and record.total_steps:
        return f"{record.step:,} of {record.total_steps:,}"
    return f"{record.step:,}"


def _describe_date(row: RunRow) -> str:
    moment = time.localtime(row.record.created_seconds)
    is_this_year = moment.tm_year == time.localtime().tm_year
    return time.strftime("%d %b, %H:%M" if is_this_year else "%d %b %Y", moment)


def _or_last(value: float | None) -> float:
    return _LAST if value is None else value


COLUMNS = (
    Column("Name", lambda row: row.record.name, lambda row: row.record.name.lower()),
    Column(
        "State",
        lambda row: describe_state(row.record),
        lambda row: describe_state(row.record),
    ),
    Column("Base", lambda row: row.base_name, lambda row: row.base_name.lower()),
    Column("Data", lambda row: row.data_names, lambda row: row.data_names.lower()),
    Column("Steps", _describe_steps, lambda row: float(row.record.step), True),
    Column(
        "Loss",
        lambda row: format_loss(row.record.last_loss),
        lambda row: _or_last(row.record.last_loss),
        True,
    ),
    Column(
        "Validation",
        lambda row: format_loss(row.record.best_validation_loss),
        lambda row: _or_last(row.record.best_validation_loss),
        True,
    ),
    Column(
        "Time",
        lambda row: format_duration(row.record.trained_seconds or None),
        lambda row: row.record.trained_seconds,
        True,
    ),
    Column("Started", _describe_date, lambda row: row.record.created_seconds),
)


class RunTableModel(QAbstractTableModel):
    """Holds the rows it is given.

    Signals:
        rename_requested: The run in this folder is to be called by the second text.
    """

    rename_requested = Signal(str, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[RunRow] = []

    @property
    def rows(self) -> Sequence[RunRow]:
        """All rows in the order of the store."""
        return self._rows

    def show_rows(self, rows: Sequence[RunRow]) -> None:
        """Replaces all rows; with the same runs in the same order, selections survive."""
        if [row.folder for row in rows] == [row.folder for row in self._rows]:
            self._rows = list(rows)
            if rows:
                self._note_change(0, len(rows) - 1)
            return
        self.beginResetModel()
        self._rows = list(rows)
        self.endResetModel()

    def show_record(self, record: RunRecord) -> bool:
        """Updates the row of one run; returns False when it is not in the table yet."""
        for number, row in enumerate(self._rows):
            if row.record.folder == record.folder:
                self._rows[number] = replace(row, record=record)
                self._note_change(number, number)
                return True
        return False

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's name
        """Returns the number of runs."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's name
        """Returns the number of columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Returns the title of a column."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section].title
        if role == Qt.ItemDataRole.TextAlignmentRole and COLUMNS[section].is_number:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Returns what a cell says."""
        row, column = self._rows[index.row()], COLUMNS[index.column()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return column.get_text(row) or UNKNOWN
        if role == SORT_ROLE:
            return column.get_order(row)
        if role == ROW_ROLE:
            return row
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tooltip(f"{row.record.name}\n{row.base}\n{row.data_names}\n{row.folder}")
        if role == Qt.ItemDataRole.TextAlignmentRole and column.is_number:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Returns that names can be edited."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsEditable if index.column() == NAME_COLUMN else flags

    def setData(  # noqa: N802 - Qt's name
        self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole
    ) -> bool:
        """Asks for another name; the row changes when the run has it."""
        title = " ".join(str(value).split())
        row = self._rows[index.row()]
        if role == Qt.ItemDataRole.EditRole and title and title != row.record.name:
            self.rename_requested.emit(row.folder, title)
        return False

    def _note_change(self, first: int, last: int) -> None:
        self.dataChanged.emit(self.index(first, 0), self.index(last, len(COLUMNS) - 1))
