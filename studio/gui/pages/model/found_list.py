"""The list of models on this machine: name, kind, size, and why some cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
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

from studio.core.units import format_bytes, format_count
from studio.core.weights.local import FoundModel
from studio.gui.theme.tokens import SIZES, Colours, colours_of_palette
from studio.gui.widgets.labels import plain_tooltip

_Index = QModelIndex | QPersistentModelIndex
_MODEL_ROLE = int(Qt.ItemDataRole.UserRole)
_ROW_HEIGHT = 58


class FoundModels(QAbstractListModel):
    """The models as Qt wants them."""

    def __init__(self) -> None:
        super().__init__()
        self._models: list[FoundModel] = []

    def replace(self, models: Sequence[FoundModel]) -> None:
        """Shows other models."""
        self.beginResetModel()
        self._models = list(models)
        self.endResetModel()

    def find_row(self, reference: str) -> int:
        """Return the row of the model that a recipe calls ``reference``, or -1."""
        references = [model.reference for model in self._models]
        return references.index(reference) if reference in references else -1

    def rowCount(self, parent: _Index | None = None) -> int:  # noqa: N802 - Qt's name
        """Returns how many models there are."""
        return 0 if parent is not None and parent.isValid() else len(self._models)

    def data(self, index: _Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Returns what one row shows, says to screen readers, or is."""
        if not index.isValid():
            return None
        model = self._models[index.row()]
        if role == _MODEL_ROLE:
            return model
        if role == int(Qt.ItemDataRole.DisplayRole):
            return model.name
        if role == int(Qt.ItemDataRole.AccessibleTextRole):
            return f"{model.name}, {describe_model_line(model)}"
        if role == int(Qt.ItemDataRole.ToolTipRole):
            return plain_tooltip(f"{model.folder}\n{model.problem} {model.remedy}".strip())
        return None


class _Painter(QStyledItemDelegate):
    """Draws a model on two lines."""

    def sizeHint(  # noqa: N802 - Qt's name
        self, option: QStyleOptionViewItem, index: _Index
    ) -> QSize:
        del index
        width = option.rect.width()
        return QSize(width, _ROW_HEIGHT)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        model: FoundModel = index.data(_MODEL_ROLE)
        palette = option.palette
        area: QRect = option.rect
        state = option.state
        colours = colours_of_palette(palette)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_back(painter, area.adjusted(2, 1, -2, -1), state, colours)
        font = QFont(option.font)
        inner = area.adjusted(SIZES.m, SIZES.s, -SIZES.m, -SIZES.s)
        half = inner.height() // 2
        font.setWeight(QFont.Weight.DemiBold)
        _draw_line(
            painter, font, model.name, QRect(inner.topLeft(), QSize(inner.width(), half)),
            colours.text if model.is_usable else colours.muted,
        )  # fmt: skip
        font.setWeight(QFont.Weight.Normal)
        font.setPixelSize(SIZES.caption)
        _draw_line(
            painter, font, describe_model_line(model), inner.adjusted(0, half, 0, 0),
            colours.muted if model.is_usable else colours.warning,
        )  # fmt: skip
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


class FoundList(QListView):
    """The list itself.

    Signals:
        model_selected: The user chose this ``FoundModel``, usable or not.
    """

    model_selected = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._found = FoundModels()
        self.setModel(self._found)
        self.setItemDelegate(_Painter(self))
        self.setAccessibleName("Models on this machine")
        self.setMouseTracking(True)
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.selectionModel().currentChanged.connect(self._on_current_changed)
        self._is_showing = False

    def show_models(self, models: Sequence[FoundModel], reference: str) -> None:
        """Shows models and marks the one that a recipe calls ``reference``."""
        self._is_showing = True
        self._found.replace(models)
        row = self._found.find_row(reference)
        if row >= 0:
            self.setCurrentIndex(self._found.index(row))
        self._is_showing = False

    def _on_current_changed(self, current: QModelIndex) -> None:
        if current.isValid() and not self._is_showing:
            self.model_selected.emit(current.data(_MODEL_ROLE))


def describe_model_line(model: FoundModel) -> str:
    """Return one line about a model: kind, parameters and size, or why it cannot be used."""
    if not model.is_usable:
        return model.problem.replace(f"{model.folder}", "The folder")
    kind = shorten_architecture(model.architecture)
    parts = [kind, f"{format_count(model.parameters)} parameters", format_bytes(model.size_bytes)]
    return ", ".join(part for part in parts if part)


def shorten_architecture(name: str) -> str:
    """Return the name of an architecture without what all language models share."""
    return name.removesuffix("ForCausalLM").removesuffix("LMHeadModel")


def _draw_line(painter: QPainter, font: QFont, text: str, area: QRect, colour: str) -> None:
    painter.setFont(font)
    painter.setPen(QColor(colour))
    shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, area.width())
    painter.drawText(area, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), shown)
