"""One coloured tile per area and adapter."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QWidget,
)

from studio.core.forgetting.probes import AREAS
from studio.core.forgetting.verdict import AreaVerdict, State, describe_verdict
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.icon import Tone
from studio.gui.widgets.labels import Chip, ChipKind, ElidedLabel, PlainLabel, plain_tooltip

_LOOKS: dict[State, tuple[str, ChipKind]] = {
    "kept": ("Kept", "success"),
    "changed": ("Changed", "warning"),
    "broken": ("Broke", "error"),
    "unknown": ("Not judged", "plain"),
}
_KIND: dict[State, Tone | str] = {
    "kept": "card",
    "changed": "warning",
    "broken": "error",
    "unknown": "card",
}
_PRESSES = (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter)


class VerdictTile(QFrame):
    """What became of one area under one adapter.

    Signals:
        chosen: The user wants to see the prompts of this tile.
    """

    chosen = Signal()

    def __init__(self, verdict: AreaVerdict, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        words = describe_verdict(verdict)
        self.setProperty("kind", _KIND[verdict.state])
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(f"{verdict.column}, {words}")
        self.setToolTip(
            plain_tooltip(
                f"{words}\nDistance of the words from the base's (KL divergence): "
                f"{verdict.divergence:.2f} nats per token; below 0.05 is hardly a change, above "
                "0.5 a strong one."
            )
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(SIZES.s, SIZES.xs, SIZES.m, SIZES.xs)
        row.setSpacing(SIZES.m)
        row.addWidget(Chip(*_LOOKS[verdict.state]))
        count = f"{verdict.kept} of {verdict.known} kept"
        if verdict.state == "unknown":
            count = f"base: {verdict.known} of {verdict.probes}"
        row.addWidget(PlainLabel(count, "strong", wraps=False), 1)
        row.addWidget(PlainLabel(f"KL {verdict.divergence:.2f}", "caption", wraps=False))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Chooses the tile."""
        super().mouseReleaseEvent(event)
        if event.button() == Qt.MouseButton.LeftButton:
            self.chosen.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Chooses the tile by keyboard."""
        if event.key() in _PRESSES:
            self.chosen.emit()
        else:
            super().keyPressEvent(event)


class VerdictGrid(QScrollArea):
    """A line per area, a column per adapter; many columns are scrolled sideways.

    Signals:
        chosen: Area and column of the tile whose prompts are to be shown.
    """

    chosen = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        content = QWidget()
        content.setProperty("role", "scrolled")
        self._grid = QGridLayout(content)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(SIZES.s)
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_verdicts(self, verdicts: Sequence[AreaVerdict]) -> None:
        """Shows other verdicts."""
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        columns = list(dict.fromkeys(one.column for one in verdicts))
        areas = list(dict.fromkeys(one.area for one in verdicts))
        for place, column in enumerate(columns, 1):
            name = ElidedLabel(column, "strong")
            self._grid.addWidget(name, 0, place)
            self._grid.setColumnStretch(place, 1)
        for row, area in enumerate(areas, 1):
            self._grid.addWidget(PlainLabel(AREAS.get(area, area), wraps=False), row, 0)
        for verdict in verdicts:
            tile = VerdictTile(verdict)
            tile.chosen.connect(
                lambda area=verdict.area, column=verdict.column: self.chosen.emit(area, column)
            )
            row, place = areas.index(verdict.area) + 1, columns.index(verdict.column) + 1
            self._grid.addWidget(tile, row, place)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Stays as high as all lines, and the bar below them where there is one."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        least = self._grid.minimumSize()
        needs_bar = least.width() > self.width()
        bar = self.horizontalScrollBar().sizeHint().height() + SIZES.xs if needs_bar else 0
        self.setFixedHeight(least.height() + bar)
