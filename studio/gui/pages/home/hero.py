"""The first thing a newcomer sees: what the program does, and the starter to try it with."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.starter import StarterDataSet
from studio.gui.theme.tokens import SIZES, blend, colours_of
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import PlainLabel, plain_tooltip

_SENTENCE = (
    "Teach a language model something of your own: a tone, a format, new facts. The model stays as "
    "it is; a small adapter learns beside it, on this machine."
)


class Hero(QFrame):
    """A wide card with one sentence, one choice and one large button.

    Signals:
        starter_requested: The name of the starter's data set to train on now.
        own_model_requested: The user wants to begin with an own model.
    """

    starter_requested = Signal(str)
    own_model_requested = Signal()

    def __init__(
        self,
        data_sets: Sequence[StarterDataSet],
        first: str,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._choice = QComboBox()
        self._choice.setAccessibleName("What the starter model learns")
        self._choice.setMinimumWidth(210)
        for place, data_set in enumerate(data_sets):
            self._choice.addItem(data_set.title, data_set.name)
            tip = plain_tooltip(data_set.description)
            self._choice.setItemData(place, tip, Qt.ItemDataRole.ToolTipRole)
        self._choice.setCurrentIndex(max(0, self._choice.findData(first)))
        self._descriptions = {one.name: one.description for one in data_sets}
        self._description = PlainLabel("", "caption")
        self._choice.currentIndexChanged.connect(self._describe)
        self._try = Button("&Try the starter", "play", "primary")
        self._try.setProperty("scale", "large")
        self._try.clicked.connect(self._on_try_clicked)
        own = Button("Start from your own &model", "model")
        own.setProperty("scale", "large")
        own.clicked.connect(self.own_model_requested)
        has_starter = bool(data_sets)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.xxl, SIZES.xl + 4, 250, SIZES.xl + 4)
        box.setSpacing(SIZES.m)
        box.addWidget(PlainLabel("Make a model your own", "hero"))
        box.addWidget(PlainLabel(_SENTENCE, "muted"))
        box.addSpacing(SIZES.s)
        if has_starter:
            box.addLayout(self._build_choice())
        buttons = QHBoxLayout()
        buttons.setSpacing(SIZES.s)
        if has_starter:
            buttons.addWidget(self._try)
        buttons.addWidget(own)
        buttons.addStretch(1)
        box.addLayout(buttons)
        self._describe()

    def show_busy(self, is_busy: bool) -> None:
        """Greys the large button out while the starter's run is being made."""
        self._try.setEnabled(not is_busy)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws the card and a picture of layers with an adapter between them."""
        del event
        colours = colours_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        fill = QLinearGradient(area.topLeft(), area.bottomRight())
        fill.setColorAt(0.0, QColor(colours.surface))
        fill.setColorAt(1.0, QColor(colours.accent_soft))
        painter.setBrush(fill)
        painter.setPen(QColor(colours.border))
        painter.drawRoundedRect(area, SIZES.radius_card + 2, SIZES.radius_card + 2)
        middle = area.center().y()
        for place in (2, 1, 0):
            is_adapter = place == 1
            top = middle - 62 + place * 42
            tint = colours.accent if is_adapter else colours.border_strong
            self._draw_layer(painter, area.right() - 138, top, tint, is_adapter)

    def _draw_layer(
        self, painter: QPainter, x: float, y: float, tint: str, is_adapter: bool
    ) -> None:
        colours = colours_of(self)
        wide, high = (58.0, 23.0) if is_adapter else (92.0, 36.0)
        shape = QPainterPath()
        shape.moveTo(x, y)
        shape.lineTo(x + wide, y + high)
        shape.lineTo(x, y + 2 * high)
        shape.lineTo(x - wide, y + high)
        shape.closeSubpath()
        shape.translate(0, 36.0 - high)
        fill = blend(colours.surface, tint, 0.85 if is_adapter else 0.18)
        painter.setBrush(fill)
        pen = QPen(QColor(tint), 2)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.setPen(pen)
        painter.drawPath(shape)

    def _build_choice(self) -> QVBoxLayout:
        line = QHBoxLayout()
        line.setSpacing(SIZES.s)
        label = PlainLabel("What the starter learns", wraps=False)
        label.setBuddy(self._choice)
        line.addWidget(label)
        line.addWidget(self._choice)
        line.addStretch(1)
        column = QVBoxLayout()
        column.setSpacing(SIZES.xs)
        column.addLayout(line)
        column.addWidget(self._description)
        return column

    def _describe(self) -> None:
        words = self._descriptions.get(str(self._choice.currentData()), "")
        self._description.setText(f"{words} Takes about a minute, no graphics card needed.")

    def _on_try_clicked(self) -> None:
        self.starter_requested.emit(str(self._choice.currentData()))
