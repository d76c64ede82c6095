"""A list whose entries have a name and a line about it, painted fast whatever their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QFont, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from studio.gui.theme.tokens import SIZES, Colours, colours_of_palette
from studio.gui.widgets.labels import plain_tooltip

_Index = QModelIndex | QPersistentModelIndex
_ENTRY_ROLE = int(Qt.ItemDataRole.UserRole)
_ROW_HEIGHT = 58


@dataclass(frozen=True)
class ListEntry:
    """What one entry shows. ``thing`` is what it stands for, ``key`` tells it from the others.

    ``is_faded`` entries cannot be used; their line says why.
    """

    key: str
    name: str
    line: str
    thing: object
    hint: str = ""
    is_faded: bool = False


class EntryModel(QAbstractListModel):
    """The entries as Qt wants them."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[ListEntry] = []

    def replace(self, entries: Sequence[ListEntry]) -> None:
        """Shows other entries."""
        self.beginResetModel()
        self._entries = list(entries)
        self.endResetModel()

    def find_row(self, key: str) -> int:
        """Return the row of the entry with this key, or -1."""
        keys = [entry.key for entry in self._entries]
        return keys.index(key) if key in keys else -1

    def rowCount(self, parent: _Index | None = None) -> int:  # noqa: N802 - Qt's name
        """Returns how many entries there are."""
        return 0 if parent is not None and parent.isValid() else len(self._entries)

    def data(self, index: _Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Returns what one row shows, says to screen readers, or is."""
        if not index.isValid():
            return None
        entry = self._entries[index.row()]
        if role == _ENTRY_ROLE:
            return entry
        if role == int(Qt.ItemDataRole.DisplayRole):
            return entry.name
        if role == int(Qt.ItemDataRole.AccessibleTextRole):
            return f"{entry.name}, {entry.line}"
        if role == int(Qt.ItemDataRole.ToolTipRole):
            return plain_tooltip(entry.hint or f"{entry.name}\n{entry.line}")
        return None


class _Painter(QStyledItemDelegate):
    """Draws an entry on two lines."""

    def sizeHint(  # noqa: N802 - Qt's name
        self, option: QStyleOptionViewItem, index: _Index
    ) -> QSize:
        del index
        return QSize(option.rect.width(), _ROW_HEIGHT)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        entry: ListEntry = index.data(_ENTRY_ROLE)
        area: QRect = option.rect
        colours = colours_of_palette(option.palette)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_back(painter, area.adjusted(2, 1, -2, -1), option.state, colours)
        font = QFont(option.font)
        inner = area.adjusted(SIZES.m, SIZES.s, -SIZES.m, -SIZES.s)
        half = inner.height() // 2
        font.setWeight(QFont.Weight.DemiBold)
        top = QRect(inner.topLeft(), QSize(inner.width(), half))
        ink = colours.muted if entry.is_faded else colours.text
        _draw_line(painter, font, entry.name, top, ink)
        font.setWeight(QFont.Weight.Normal)
        font.setPixelSize(SIZES.caption)
        bottom = inner.adjusted(0, half, 0, 0)
        colour = colours.warning if entry.is_faded else colours.muted
        _draw_line(painter, font, entry.line, bottom, colour)
        painter.restore()

    def _draw_back(
        self, painter: QPainter, area: QRect, state: QStyle.StateFlag, colours: Colours
    ) -> None:
        is_selected = bool(state & QStyle.StateFlag.State_Selected)
        is_hovered = bool(state & QStyle.StateFlag.State_MouseOver)
        if not is_selected and not is_hovered:
            return
        painter.setBrush(QColor(colours.accent_soft if is_selected else colours.sunken))
        has_focus = bool(state & QStyle.StateFlag.State_HasFocus)
        painter.setPen(QColor(colours.accent) if has_focus else Qt.PenStyle.NoPen)
        painter.drawRoundedRect(area, SIZES.radius, SIZES.radius)


class TwoLineList(QListView):
    """The list itself.

    Signals:
        entry_selected: The user chose this ``ListEntry``.
    """

    entry_selected = Signal(object)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries = EntryModel()
        self.setModel(self._entries)
        self.setItemDelegate(_Painter(self))
        self.setAccessibleName(name)
        self.setMouseTracking(True)
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.selectionModel().currentChanged.connect(self._on_current_changed)
        self._is_showing = False

    def show_entries(self, entries: Sequence[ListEntry], key: str = "") -> None:
        """Shows entries and marks the one with this key, without telling that as a choice."""
        self._is_showing = True
        self._entries.replace(entries)
        row = self._entries.find_row(key)
        if row >= 0:
            self.setCurrentIndex(self._entries.index(row))
        self._is_showing = False

    def _on_current_changed(self, current: QModelIndex) -> None:
        if current.isValid() and not self._is_showing:
            self.entry_selected.emit(current.data(_ENTRY_ROLE))


def _draw_line(painter: QPainter, font: QFont, text: str, area: QRect, colour: str) -> None:
    painter.setFont(font)
    painter.setPen(QColor(colour))
    shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, area.width())
    painter.drawText(area, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), shown)
