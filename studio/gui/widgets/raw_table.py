"""The first rows of a file as a table, as they are written."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from studio.gui.bridge.raw_rows import RawRows
from studio.gui.widgets.labels import plain_tooltip

_Index = QModelIndex | QPersistentModelIndex
_DISPLAY = int(Qt.ItemDataRole.DisplayRole)
_TOP_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_SHOWN_LINES = 3
_NARROW = 160


class RawTableModel(QAbstractTableModel):
    """The rows as Qt wants them."""

    def __init__(self) -> None:
        super().__init__()
        self._raw = RawRows((), (), 0, 0)

    def replace(self, raw: RawRows) -> None:
        """Shows other rows."""
        self.beginResetModel()
        self._raw = raw
        self.endResetModel()

    def rowCount(self, parent: _Index | None = None) -> int:  # noqa: N802 - Qt's name
        """Returns the number of rows."""
        return 0 if parent is not None and parent.isValid() else len(self._raw.rows)

    def columnCount(self, parent: _Index | None = None) -> int:  # noqa: N802 - Qt's name
        """Returns the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self._raw.columns)

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = _DISPLAY
    ) -> Any:
        """Returns the name of a column, or the number of a row."""
        if role == int(Qt.ItemDataRole.TextAlignmentRole):
            return _TOP_LEFT if orientation == Qt.Orientation.Vertical else _LEFT
        if role != _DISPLAY:
            return None
        if orientation == Qt.Orientation.Vertical:
            return str(section + 1)
        return self._raw.columns[section]

    def data(self, index: _Index, role: int = _DISPLAY) -> Any:
        """Returns the text of a cell, or all of it on hover."""
        if not index.isValid():
            return None
        text = self._raw.rows[index.row()][index.column()]
        if role == _DISPLAY:
            return text
        if role == int(Qt.ItemDataRole.ToolTipRole):
            return plain_tooltip(text)
        if role == int(Qt.ItemDataRole.TextAlignmentRole):
            return _TOP_LEFT
        return None


class RawTable(QTableView):
    """The table; rows show up to three lines."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows = RawTableModel()
        self.setModel(self._rows)
        self.setAccessibleName("First rows of the file")
        self.setWordWrap(True)
        self.setShowGrid(True)
        self.setTabKeyNavigation(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        height = self.fontMetrics().lineSpacing() * _SHOWN_LINES + 10
        self.verticalHeader().setDefaultSectionSize(height)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.horizontalHeader().setMinimumSectionSize(_NARROW)

    def show_rows(self, raw: RawRows) -> None:
        """Shows the beginning of a file."""
        self._rows.replace(raw)
        header = self.horizontalHeader()
        mode = (
            QHeaderView.ResizeMode.Stretch
            if len(raw.columns) <= 4  # more columns scroll sideways
            else QHeaderView.ResizeMode.Interactive
        )
        header.setSectionResizeMode(mode)
