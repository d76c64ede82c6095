"""The layers of a model as a tree: shapes, sizes, and where the adapter will sit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QAbstractItemModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QColor, QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTreeView, QWidget

from studio.core.units import format_bytes, format_count
from studio.core.weights.tree import LayerNode
from studio.gui.theme.tokens import colours_of_palette
from studio.gui.widgets.labels import plain_tooltip

_Index = QModelIndex | QPersistentModelIndex
_HEADINGS = ("Module", "Shape", "Parameters", "Size", "Adapter")
_ADAPTER_COLUMN = 4
_ROOM_FOR_SHAPES = 560
_ROOM_FOR_SIZES = 460
_DISPLAY = int(Qt.ItemDataRole.DisplayRole)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)


class LayerTreeModel(QAbstractItemModel):
    """The tree as Qt wants it; nodes are kept by the model, so internal ids stay valid."""

    def __init__(self) -> None:
        super().__init__()
        self._root: LayerNode | None = None
        self._places: dict[int, tuple[LayerNode | None, int]] = {}
        self._nodes: dict[int, LayerNode] = {}
        self._ranks: Mapping[str, int] = {}
        self._sums: dict[int, int] = {}

    def show_tree(self, root: LayerNode | None) -> None:
        """Shows another model."""
        self.beginResetModel()
        self._root = root
        self._places, self._nodes = {}, {}
        if root is not None:
            self._enter(root)
        self._count_adapted()
        self.endResetModel()

    def show_ranks(self, ranks: Mapping[str, int]) -> None:
        """Shows which modules get an adapter, with their ranks, by module name."""
        self.layoutAboutToBeChanged.emit()
        self._ranks = ranks
        self._count_adapted()
        self.layoutChanged.emit()

    def index(self, row: int, column: int, parent: _Index | None = None) -> QModelIndex:
        """Returns the index of a child."""
        node = self._get_node(parent)
        if node is None or not 0 <= row < len(node.children):
            return QModelIndex()
        return self.createIndex(row, column, id(node.children[row]))

    def parent(self, index: _Index) -> QModelIndex:  # type: ignore[override]  # QObject has another
        """Returns the index of the level above."""
        above = self._places[index.internalId()][0] if index.isValid() else None
        if above is None or above is self._root:
            return QModelIndex()
        return self.createIndex(self._places[id(above)][1], 0, id(above))

    def rowCount(self, parent: _Index | None = None) -> int:  # noqa: N802 - Qt's name
        """Returns how many children a level has."""
        if parent is not None and parent.column() > 0:
            return 0
        node = self._get_node(parent)
        return len(node.children) if node else 0

    def columnCount(self, parent: _Index | None = None) -> int:  # noqa: N802 - Qt's name
        """Returns the number of columns."""
        del parent
        return len(_HEADINGS)

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = _DISPLAY
    ) -> Any:
        """Returns the heading of a column."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == _DISPLAY:
            return _HEADINGS[section]
        if role == int(Qt.ItemDataRole.TextAlignmentRole):
            return _RIGHT if section in (2, 3) else _LEFT
        return None

    def data(self, index: _Index, role: int = _DISPLAY) -> Any:
        """Returns the text of a cell and its alignment."""
        if not index.isValid():
            return None
        node = self._nodes[index.internalId()]
        if role == _DISPLAY:
            return self._get_text(node, index.column())
        if role == int(Qt.ItemDataRole.TextAlignmentRole):
            return _RIGHT if index.column() in (2, 3) else _LEFT
        if role == int(Qt.ItemDataRole.ToolTipRole) and index.column() == 0:
            return plain_tooltip(node.path)
        if role == int(Qt.ItemDataRole.ForegroundRole) and index.column() == _ADAPTER_COLUMN:
            colours = colours_of_palette(QGuiApplication.palette())
            return QColor(colours.accent if self._sums.get(id(node)) else colours.faint)
        return None

    def _get_text(self, node: LayerNode, column: int) -> str:
        module = node.module
        if column == 0:
            return node.name
        if column == 1:
            return " x ".join(str(size) for size in module.shape) if module else ""
        if column == 2:
            return format_count(node.parameters) if node.parameters else "shared"
        if column == 3:
            return format_bytes(node.size_bytes) if node.size_bytes else ""
        if module is not None and module.name in self._ranks:
            return f"rank {self._ranks[module.name]}"
        adapted = self._sums.get(id(node), 0)
        if adapted:
            return f"{adapted} module" + ("s" if adapted > 1 else "")
        return "possible" if module is not None and module.is_adaptable else ""

    def _enter(self, node: LayerNode) -> None:
        for row, child in enumerate(node.children):
            self._places[id(child)] = (node, row)
            self._nodes[id(child)] = child
            self._enter(child)

    def _count_adapted(self) -> None:
        self._sums = {}
        if self._root is not None:
            self._sum_up(self._root)

    def _sum_up(self, node: LayerNode) -> int:
        own = int(node.module is not None and node.module.name in self._ranks)
        total = own + sum(self._sum_up(child) for child in node.children)
        self._sums[id(node)] = total
        return total

    def _get_node(self, index: _Index | None) -> LayerNode | None:
        if index is None or not index.isValid():
            return self._root
        return self._nodes[index.internalId()]


class LayerTree(QTreeView):
    """The tree, opened down to the layers."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tree = LayerTreeModel()
        self.setModel(self._tree)
        self.setAccessibleName("Layers of the model")
        self.setUniformRowHeights(True)
        self.setAlternatingRowColors(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setIndentation(18)
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in range(1, len(_HEADINGS)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
        for column, width in ((1, 96), (2, 90), (3, 78), (4, 112)):
            self.setColumnWidth(column, width)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Leaves out columns that would squeeze the names."""
        super().resizeEvent(event)
        width = event.size().width()
        self.setColumnHidden(1, width < _ROOM_FOR_SHAPES)
        self.setColumnHidden(3, width < _ROOM_FOR_SIZES)

    def show_tree(self, root: LayerNode | None) -> None:
        """Shows the layers of a model, opened where there are few branches."""
        self._tree.show_tree(root)
        index = QModelIndex()
        while self._tree.rowCount(index) in range(1, 4):
            inner = [self._tree.index(row, 0, index) for row in range(self._tree.rowCount(index))]
            largest = max(inner, key=self._tree.rowCount)
            if self._tree.rowCount(largest) == 0:
                break
            self.expand(largest)
            index = largest

    def show_ranks(self, ranks: Mapping[str, int]) -> None:
        """Shows which modules get an adapter, with their ranks, by module name."""
        self._tree.show_ranks(ranks)
