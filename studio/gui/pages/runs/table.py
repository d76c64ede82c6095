"""The table of runs: search, sort, select, open, rename in place."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import (
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRectF,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QFont, QKeyEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from studio.core.runs.record import RunRecord
from studio.gui.bridge.run_catalog import RunRow
from studio.gui.pages.runs.table_model import (
    COLUMNS,
    NAME_COLUMN,
    ROW_ROLE,
    SORT_ROLE,
    STATUS_COLUMN,
    RunTableModel,
)
from studio.gui.theme.tokens import SIZES, Colours, colours_of_palette
from studio.gui.widgets.labels import ChipKind
from studio.gui.widgets.run_chip import CHIP_KINDS

_WIDTHS = (0, 106, 112, 124, 98, 86, 88, 96, 126)
_HIDDEN_BELOW = {3: 960, 7: 860}  # data and time make room for the name in a small window
_ROW_HEIGHT = 36
Index = QModelIndex | QPersistentModelIndex


class RunTable(QTableView):
    """Shows runs, newest first until the user sorts otherwise.

    Signals:
        open_requested: The run in this folder is to be opened.
        selection_changed: The selected ``RunRow`` list.
        rename_requested: The run in this folder is to be called by the second text.
        delete_requested: The Delete key was pressed.
        menu_requested: A right click at this global point.
    """

    open_requested = Signal(str)
    selection_changed = Signal(list)
    rename_requested = Signal(str, str)
    delete_requested = Signal()
    menu_requested = Signal(QPoint)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = RunTableModel(self)
        self._proxy = _Filter(self)
        self._proxy.setSourceModel(self._model)
        self._proxy.setSortRole(SORT_ROLE)
        self.setModel(self._proxy)
        self.setItemDelegateForColumn(STATUS_COLUMN, _ChipDelegate(self))
        self.setAccessibleName("Runs")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(NAME_COLUMN, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(48)
        for column, width in enumerate(_WIDTHS):
            if width:
                self.setColumnWidth(column, width)
        self.setSortingEnabled(True)
        self.sortByColumn(len(COLUMNS) - 1, Qt.SortOrder.DescendingOrder)
        self._model.rename_requested.connect(self.rename_requested)
        self.doubleClicked.connect(lambda index: self._open(index))
        self.customContextMenuRequested.connect(
            lambda point: self.menu_requested.emit(self.viewport().mapToGlobal(point))
        )
        self.selectionModel().selectionChanged.connect(self._on_selection_changed)
        self._model.modelReset.connect(self._on_selection_changed)

    @property
    def selected_rows(self) -> list[RunRow]:
        """The selected runs from top to bottom."""
        indexes = sorted(self.selectionModel().selectedRows(), key=lambda index: index.row())
        return [index.data(ROW_ROLE) for index in indexes]

    def show_rows(self, rows: Sequence[RunRow]) -> None:
        """Shows these runs and keeps what is selected."""
        kept = {row.folder for row in self.selected_rows}
        self._model.show_rows(rows)
        self._select(kept)

    def show_record(self, record: RunRecord) -> bool:
        """Updates one run; returns False when it is not in the table yet."""
        return self._model.show_record(record)

    def show_filter(self, text: str) -> None:
        """Shows only the runs in which every word of the text occurs."""
        self._proxy.show_filter(text)
        self._on_selection_changed()  # what is hidden now is no longer selected

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws the runs, or says that the search finds none."""
        super().paintEvent(event)
        if self._model.rows and not self._proxy.rowCount():
            painter = QPainter(self.viewport())
            painter.setPen(self.palette().placeholderText().color())
            centre = Qt.AlignmentFlag.AlignCenter
            painter.drawText(self.viewport().rect(), centre, "No run matches the search.")
            painter.end()

    def rename_selected(self) -> None:
        """Starts to edit the name of the first selected run."""
        indexes = self.selectionModel().selectedRows(NAME_COLUMN)
        if indexes:
            self.edit(indexes[0])

    def select_run(self, folder: str) -> None:
        """Selects one run and scrolls to it."""
        self.clearSelection()
        self._select({folder})
        for index in self.selectionModel().selectedRows(NAME_COLUMN):
            self.scrollTo(index, QAbstractItemView.ScrollHint.PositionAtCenter)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Shows as many columns as there is room for."""
        for column, width in _HIDDEN_BELOW.items():
            self.setColumnHidden(column, event.size().width() < width)
        super().resizeEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Opens with Enter, renames with F2, deletes with Delete."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self._open(self.currentIndex())
        elif event.key() == Qt.Key.Key_F2:
            self.rename_selected()
        elif event.key() == Qt.Key.Key_Delete:
            self.delete_requested.emit()
        else:
            super().keyPressEvent(event)

    def _select(self, folders: set[str]) -> None:
        flags = self.selectionModel().SelectionFlag
        for number in range(self._proxy.rowCount()):
            index = self._proxy.index(number, 0)
            if index.data(ROW_ROLE).folder in folders:
                self.selectionModel().select(index, flags.Select | flags.Rows)

    def _open(self, index: Index) -> None:
        if self.state() != QAbstractItemView.State.EditingState:
            self.open_requested.emit(index.data(ROW_ROLE).folder)

    def _on_selection_changed(self) -> None:
        self.selection_changed.emit(self.selected_rows)


class _Filter(QSortFilterProxyModel):
    """Keeps the rows in which every word occurs in some text column."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._words: list[str] = []

    def show_filter(self, text: str) -> None:
        self._words = text.lower().split()
        self.invalidate()

    def filterAcceptsRow(self, source_row: int, source_parent: Index) -> bool:  # noqa: N802
        model = self.sourceModel()
        texts = [
            str(model.index(source_row, column, source_parent).data())
            for column, kind in enumerate(COLUMNS)
            if not kind.is_number
        ]
        haystack = " ".join(texts).lower()
        return all(word in haystack for word in self._words)


class _ChipDelegate(QStyledItemDelegate):
    """Draws the state as a chip."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        super().paint(painter, option, QModelIndex())  # background and selection, no text
        colours = colours_of_palette(option.palette)
        fill, ink = _get_chip_colours(colours, CHIP_KINDS[index.data(ROW_ROLE).record.status])
        text = str(index.data())
        font = QFont(option.font)
        font.setPixelSize(SIZES.caption)
        font.setWeight(QFont.Weight.DemiBold)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(font)
        width = painter.fontMetrics().horizontalAdvance(text) + 18
        area = QRectF(option.rect.x() + 6, option.rect.center().y() - 10, width, 21)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(fill))
        painter.drawRoundedRect(area, 10, 10)
        painter.setPen(QColor(ink))
        painter.drawText(area, int(Qt.AlignmentFlag.AlignCenter), text)
        painter.restore()


def _get_chip_colours(colours: Colours, kind: ChipKind) -> tuple[str, str]:
    return {
        "plain": (colours.sunken, colours.muted),
        "accent": (colours.accent_soft, colours.accent),
        "success": (colours.success_soft, colours.success),
        "warning": (colours.warning_soft, colours.warning),
        "error": (colours.error_soft, colours.error),
    }[kind]
