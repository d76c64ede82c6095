"""The rows of one list with their losses, sortable and selectable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QRectF,
    Qt,
    Signal,
)
from PySide6.QtGui import QKeyEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from studio.core.events.types import RowRead
from studio.core.microscope.report import RowReport
from studio.core.microscope.stories import RowStory
from studio.core.microscope.words import describe_preference
from studio.gui.theme.tokens import colours_of_palette
from studio.gui.widgets.labels import plain_tooltip
from studio.gui.widgets.sparkline import draw_curve

_Index = QModelIndex | QPersistentModelIndex
_DISPLAY = int(Qt.ItemDataRole.DisplayRole)
STORY_ROLE = int(Qt.ItemDataRole.UserRole)
ROW, TEXT, CURVE, FIRST, LAST, OTHER = range(6)
_HEADS = ("Row", "Text", "Course", "First", "Last", "Prefers other")
_HELP = (
    "The number of the row in its file",
    "What stands before the answer, and the answer",
    "The loss each time the row was seen",
    "The loss when the row was first seen",
    "The loss when the row was last seen",
    "How much likelier the model's favourite words were than the written ones; "
    "agrees: it would have written exactly this",
)
_WIDTHS = {ROW: 72, CURVE: 92, FIRST: 62, LAST: 62, OTHER: 104}
_HIDDEN_BELOW = {FIRST: 600, OTHER: 500}
"""Widths of the table below which a column gives its room to the text."""

_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
_ROW_HEIGHT = 32
_LONGEST = 300


class RowsModel(QAbstractTableModel):
    """The rows as Qt wants them; texts come later."""

    def __init__(self, find_text: Callable[[RowStory], RowRead | None]) -> None:
        super().__init__()
        self._find_text = find_text
        self._report = RowReport()
        self._stories: list[RowStory] = []
        self._top = 1.0
        self._order: tuple[int, Qt.SortOrder] | None = None

    def replace(self, report: RowReport, stories: Sequence[RowStory]) -> None:
        """Shows other rows in the order that was chosen last."""
        self.beginResetModel()
        self._report, self._stories = report, list(stories)
        self._top = max((max(one.losses) for one in self._stories), default=1.0)
        self._sort()
        self.endResetModel()

    def show_texts(self) -> None:
        """Shows texts that arrived in the meantime."""
        if self._stories:
            last = self.index(len(self._stories) - 1, TEXT)
            self.dataChanged.emit(self.index(0, TEXT), last, [_DISPLAY])

    def get_story(self, place: int) -> RowStory | None:
        """Returns the row at a place, None outside."""
        return self._stories[place] if 0 <= place < len(self._stories) else None

    @property
    def top(self) -> float:
        """The highest loss of all."""
        return self._top

    def rowCount(self, parent: _Index | None = None) -> int:  # noqa: N802 - Qt's name
        """Returns the number of rows."""
        return 0 if parent is not None and parent.isValid() else len(self._stories)

    def columnCount(self, parent: _Index | None = None) -> int:  # noqa: N802 - Qt's name
        """Returns the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(_HEADS)

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = _DISPLAY
    ) -> Any:
        """Returns the name of a column, or what it means."""
        if orientation == Qt.Orientation.Vertical:
            return None
        if role == _DISPLAY:
            return _HEADS[section]
        if role == int(Qt.ItemDataRole.TextAlignmentRole) and section in (FIRST, LAST):
            return _RIGHT
        return plain_tooltip(_HELP[section]) if role == int(Qt.ItemDataRole.ToolTipRole) else None

    def data(self, index: _Index, role: int = _DISPLAY) -> Any:
        """Returns the text of a cell, the row itself, or all of a text on hover."""
        story = self.get_story(index.row()) if index.isValid() else None
        if story is None:
            return None
        if role == STORY_ROLE:
            return story
        if role == _DISPLAY:
            return self._say(story, index.column())
        if role == int(Qt.ItemDataRole.ToolTipRole) and index.column() == TEXT:
            return plain_tooltip(self._say(story, TEXT))
        if role == int(Qt.ItemDataRole.TextAlignmentRole) and index.column() in (FIRST, LAST):
            return _RIGHT
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sorts by a column; a column below 0 keeps the order of the list."""
        self._order = (column, order) if column >= 0 else None
        self.layoutAboutToBeChanged.emit()
        self._sort()
        self.layoutChanged.emit()

    def _sort(self) -> None:
        if self._order is None:
            return
        column, order = self._order
        keys: dict[int, Callable[[RowStory], Any]] = {
            ROW: self._get_number,
            TEXT: lambda one: self._say(one, TEXT).casefold(),
            CURVE: lambda one: one.last - one.lowest,
            FIRST: lambda one: one.first,
            LAST: lambda one: one.last,
            OTHER: lambda one: one.shortfall,
        }
        self._stories.sort(key=keys[column], reverse=order == Qt.SortOrder.DescendingOrder)

    def _get_number(self, story: RowStory) -> tuple[int, int, int]:
        origin = self._report.find_origin(story)
        return (0, 0, 0) if origin is None else (origin.source, origin.number, origin.piece)

    def _say(self, story: RowStory, column: int) -> str:
        if column == ROW:
            number, piece = self._get_number(story)[1:]
            return f"{number:,}" if not piece else f"{number:,}.{piece + 1}"
        if column == TEXT:
            return say_text(self._find_text(story))
        if column == OTHER:
            return describe_preference(story)
        return "" if column == CURVE else f"{story.first if column == FIRST else story.last:.2f}"


def say_text(read: RowRead | None) -> str:
    """Return a row in one line: what stands before the answer, an arrow, the answer."""
    if read is None:
        return "…"
    if read.message:
        return f"({read.message})"
    parts = (" ".join(part.split())[:_LONGEST] for part in (read.prompt, read.answer))
    return "  →  ".join(part for part in parts if part)


class RowsTable(QTableView):
    """The table; many rows can be selected.

    Signals:
        row_chosen: The ``RowStory`` under the cursor, or None.
        selection_edited: The number of selected rows.
        seen: Other rows came into view.
        leave_out_requested: The Delete key was pressed.
        open_requested: Enter was pressed, or a row was clicked twice.
    """

    row_chosen = Signal(object)
    selection_edited = Signal(int)
    seen = Signal()
    leave_out_requested = Signal()
    open_requested = Signal()

    def __init__(
        self, find_text: Callable[[RowStory], RowRead | None], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._rows = RowsModel(find_text)
        self.setModel(self._rows)
        self.setAccessibleName("Rows and their losses")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setItemDelegateForColumn(CURVE, _CurveDelegate(self))
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(TEXT, QHeaderView.ResizeMode.Stretch)
        for column, width in _WIDTHS.items():
            self.setColumnWidth(column, width)
        header.setSortIndicator(-1, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)
        self.verticalScrollBar().valueChanged.connect(lambda _: self.seen.emit())
        self.doubleClicked.connect(lambda _: self.open_requested.emit())
        self.selectionModel().selectionChanged.connect(self._on_selection_changed)
        self.selectionModel().currentChanged.connect(self._on_current_changed)

    @property
    def selected(self) -> list[RowStory]:
        """The selected rows from top to bottom."""
        places = sorted(index.row() for index in self.selectionModel().selectedRows())
        found = (self._rows.get_story(place) for place in places)
        return [one for one in found if one is not None]

    @property
    def visible(self) -> list[RowStory]:
        """The rows in view and a few below."""
        first = max(0, self.rowAt(0))
        count = self.viewport().height() // _ROW_HEIGHT + 8
        found = (self._rows.get_story(first + place) for place in range(count))
        return [one for one in found if one is not None]

    def show_rows(self, report: RowReport, stories: Sequence[RowStory]) -> None:
        """Shows other rows; what was selected and is still there stays selected."""
        kept = {one.document for one in self.selected}
        current = self._rows.get_story(self.currentIndex().row())
        bar = self.verticalScrollBar()
        place = bar.value()
        self._rows.replace(report, stories)
        self._select(kept, current)
        bar.setValue(place)
        self.seen.emit()

    def show_texts(self) -> None:
        """Shows texts that arrived in the meantime."""
        self._rows.show_texts()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Shows as many columns as there is room for."""
        for column, width in _HIDDEN_BELOW.items():
            self.setColumnHidden(column, event.size().width() < width)
        super().resizeEvent(event)
        self.seen.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Leaves out with Delete, opens with Enter."""
        if event.key() == Qt.Key.Key_Delete:
            self.leave_out_requested.emit()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.open_requested.emit()
        else:
            super().keyPressEvent(event)

    def _select(self, documents: set[int], current: RowStory | None) -> None:
        flag = QItemSelectionModel.SelectionFlag
        for place in range(self._rows.rowCount()):
            story = self._rows.get_story(place)
            if story is None:
                continue
            index = self._rows.index(place, 0)
            if story.document in documents:
                self.selectionModel().select(index, flag.Select | flag.Rows)
            if current is not None and story.document == current.document:
                self.selectionModel().setCurrentIndex(index, flag.NoUpdate)
        if not documents and self._rows.rowCount():
            self.selectRow(0)
        if not self._rows.rowCount():
            self.row_chosen.emit(None)
            self.selection_edited.emit(0)

    def _on_selection_changed(self) -> None:
        self.selection_edited.emit(len(self.selectionModel().selectedRows()))

    def _on_current_changed(self, index: QModelIndex) -> None:
        self.row_chosen.emit(self._rows.get_story(index.row()))


class _CurveDelegate(QStyledItemDelegate):
    """Draws the losses of a row."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        super().paint(painter, option, index)  # background and selection
        story, model = index.data(STORY_ROLE), index.model()
        if isinstance(story, RowStory) and isinstance(model, RowsModel):
            area = QRectF(option.rect).adjusted(8, 7, -8, -7)
            colours = colours_of_palette(option.palette)
            draw_curve(painter, area, story.losses, model.top, colours)
