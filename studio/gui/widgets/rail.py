"""The left rail: the pages in walking order, the steps with numbers that become check marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QFont, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QButtonGroup, QSizePolicy, QVBoxLayout, QWidget

from studio.gui.theme.icons import draw_icon
from studio.gui.theme.tokens import SIZES, Colours, colours_of
from studio.gui.widgets.labels import plain_tooltip

_KEYBOARD_REASONS = (
    Qt.FocusReason.TabFocusReason,
    Qt.FocusReason.BacktabFocusReason,
    Qt.FocusReason.ShortcutFocusReason,
)


@dataclass(frozen=True)
class RailEntry:
    """One page as the rail shows it; ``step`` is its number on the way, 0 for none."""

    key: str
    title: str
    icon: str
    step: int = 0
    starts_group: bool = False


class RailButton(QAbstractButton):
    """One line of the rail."""

    def __init__(self, entry: RailEntry, shortcut: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entry = entry
        self._is_done = False
        self._is_active = False
        self._has_ring = False
        self.setText(entry.title)
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._name = f"Step {entry.step}: {entry.title}" if entry.step else entry.title
        self.setAccessibleName(self._name)
        self.setToolTip(plain_tooltip(f"{entry.title} ({shortcut})"))

    def show_progress(self, is_done: bool, is_active: bool = False) -> None:
        """Shows a check mark for a step that is done, or a dot for one that is at work."""
        self._is_done, self._is_active = is_done, is_active
        state = ", done" if is_done else ", running" if is_active else ""
        self.setAccessibleName(self._name + state)
        self.update()

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802 - Qt's name
        """Shows the ring when the focus came by keyboard."""
        self._has_ring = event.reason() in _KEYBOARD_REASONS
        super().focusInEvent(event)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Returns the height of a line."""
        return QSize(SIZES.rail - 2 * SIZES.m, 38)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws background, icon, title and step mark."""
        del event
        colours = colours_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        if self.isChecked() or self.underMouse():
            painter.setPen(Qt.PenStyle.NoPen)
            fill = colours.accent_soft if self.isChecked() else colours.border
            painter.setBrush(QColor(fill))
            painter.drawRoundedRect(area, SIZES.radius + 2, SIZES.radius + 2)
        if self.hasFocus() and self._has_ring:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(colours.accent), 2))
            painter.drawRoundedRect(area, SIZES.radius + 2, SIZES.radius + 2)
        middle = self.height() / 2
        tint = colours.accent if self.isChecked() else colours.muted
        draw_icon(painter, self._entry.icon, tint, QRectF(10, middle - 9, 18, 18))
        font = QFont(self.font())
        font.setWeight(QFont.Weight.DemiBold if self.isChecked() else QFont.Weight.Normal)
        painter.setFont(font)
        painter.setPen(QColor(colours.text))
        painter.drawText(
            QRectF(38, 0, self.width() - 70, self.height()),
            int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft),
            self._entry.title,
        )
        if self._entry.step:
            self._draw_mark(painter, colours, QRectF(self.width() - 28, middle - 9, 18, 18))

    def _draw_mark(self, painter: QPainter, colours: Colours, area: QRectF) -> None:
        if self._is_active:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.accent))
            painter.drawEllipse(area.adjusted(5, 5, -5, -5))
            return
        if self._is_done:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.success_soft))
            painter.drawEllipse(area)
            draw_icon(painter, "check", colours.success, area.adjusted(3, 3, -3, -3))
            return
        painter.setPen(QPen(QColor(colours.border_strong), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawEllipse(area)
        font = QFont(self.font())
        font.setPixelSize(11)
        painter.setFont(font)
        painter.setPen(QColor(colours.muted))
        painter.drawText(area, int(Qt.AlignmentFlag.AlignCenter), str(self._entry.step))


class Rail(QWidget):
    """All pages, one below the other.

    Signals:
        page_requested: The user chose the page with this key.
    """

    page_requested = Signal(str)

    def __init__(self, entries: Sequence[RailEntry], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedWidth(SIZES.rail)
        self.setAccessibleName("Pages")
        self._buttons: dict[str, RailButton] = {}
        self._group = QButtonGroup(self)
        self._group.setExclusive(True)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.m, SIZES.l, SIZES.m, SIZES.m)
        box.setSpacing(2)
        for number, entry in enumerate(entries, 1):
            if entry.starts_group:
                box.addSpacing(SIZES.l)
            button = RailButton(entry, f"Ctrl+{number}")
            button.clicked.connect(lambda _=False, key=entry.key: self.page_requested.emit(key))
            self._group.addButton(button)
            self._buttons[entry.key] = button
            box.addWidget(button)
        box.addStretch(1)

    def show_current(self, key: str) -> None:
        """Marks the page that is open."""
        self._buttons[key].setChecked(True)

    def show_progress(self, key: str, is_done: bool, is_active: bool = False) -> None:
        """Marks a step as done or as at work."""
        self._buttons[key].show_progress(is_done, is_active)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws the background and the line to the right."""
        del event
        colours = colours_of(self)
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(colours.rail))
        painter.setPen(QColor(colours.border))
        painter.drawLine(self.width() - 1, 0, self.width() - 1, self.height())
