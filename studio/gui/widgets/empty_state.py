"""What a page shows while it has nothing to show: why, and the one thing to do about it."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from studio.gui.theme.icons import draw_icon
from studio.gui.theme.tokens import SIZES, colours_of
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import PlainLabel

_TEXT_WIDTH = 460


class _Medallion(QWidget):
    """An icon on a soft disc."""

    def __init__(self, icon: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.icon = icon
        self.setFixedSize(72, 72)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        del event
        colours = colours_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colours.accent_soft))
        painter.drawEllipse(self.rect())
        draw_icon(painter, self.icon, colours.accent, QRectF(20, 20, 32, 32))


class EmptyState(QWidget):
    """Icon, title, one sentence and a button in the middle of the free space.

    Signals:
        action_requested: The button was pressed.
    """

    action_requested = Signal()

    def __init__(
        self,
        icon: str,
        title: str,
        sentence: str,
        action: str = "",
        parent: QWidget | None = None,
        *,
        is_primary: bool = True,
    ) -> None:
        super().__init__(parent)
        self._medallion = _Medallion(icon)
        self._title = PlainLabel(title, "heading")
        self._sentence = PlainLabel(sentence, "muted")
        self._action = Button(action, kind="primary" if is_primary else "normal")
        self._action.clicked.connect(self.action_requested)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.xl, SIZES.xl, SIZES.xl, SIZES.xl)
        box.setSpacing(SIZES.s)
        box.addStretch(2)
        box.addWidget(self._medallion, 0, Qt.AlignmentFlag.AlignHCenter)
        box.addSpacing(SIZES.s)
        box.addLayout(self._build_texts())
        box.addSpacing(SIZES.s)
        box.addWidget(self._action, 0, Qt.AlignmentFlag.AlignHCenter)
        box.addStretch(3)
        self._action.setVisible(bool(action))

    def _build_texts(self) -> QHBoxLayout:
        """Return the texts in the middle; without alignment, so that they wrap to their width."""
        column = QWidget()
        column.setMaximumWidth(_TEXT_WIDTH)
        column.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        texts = QVBoxLayout(column)
        texts.setContentsMargins(0, 0, 0, 0)
        texts.setSpacing(SIZES.s)
        for label in (self._title, self._sentence):
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            texts.addWidget(label)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(column, 1000)
        row.addStretch(1)
        return row

    def show_reason(self, icon: str, title: str, sentence: str, action: str = "") -> None:
        """Shows another reason and another thing to do."""
        self._medallion.icon = icon
        self._medallion.update()
        self._title.setText(title)
        self._sentence.setText(sentence)
        self._action.set_text_and_icon(action, "")
        self._action.setVisible(bool(action))
