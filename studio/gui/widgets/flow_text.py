"""Text of any length and any words: wraps everywhere, is as high as it needs, stays plain."""

from __future__ import annotations

import math

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QColor, QPalette, QResizeEvent, QTextCursor, QTextOption
from PySide6.QtWidgets import QFrame, QPlainTextEdit, QSizePolicy, QWidget

from studio.gui.theme.tokens import colours_of
from studio.gui.widgets.icon import Tone, get_tone


class FlowText(QPlainTextEdit):
    """A read-only text without frame or scroll bars that can be selected and copied as it is.

    A label would grow as wide as its longest word; model answers have words of any length.
    """

    def __init__(self, text: str = "", tone: Tone = "text", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tone: Tone = tone
        self.setReadOnly(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setStyleSheet("QPlainTextEdit { background: transparent; border: none; padding: 0; }")
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.document().setDocumentMargin(0)
        self.viewport().setCursor(Qt.CursorShape.IBeamCursor)
        self.show_text(text, tone)

    @property
    def text(self) -> str:
        """What is shown."""
        return self.toPlainText()

    def show_text(self, text: str, tone: Tone = "text") -> None:
        """Shows another text in a colour of the theme."""
        self._tone = tone
        self.setPlainText(text)
        self._paint_text()
        self._fit()

    def add_text(self, text: str) -> None:
        """Adds a piece at the end; nothing before it is laid out again."""
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.insertText(text)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Becomes as high as the text needs at the new width."""
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Takes over the colour of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._paint_text()

    def _paint_text(self) -> None:
        colour = QColor(get_tone(colours_of(self), self._tone))
        palette = self.palette()
        if palette.color(QPalette.ColorRole.Text) != colour:
            palette.setColor(QPalette.ColorRole.Text, colour)
            self.setPalette(palette)

    def _fit(self) -> None:
        # Not lines times line spacing: a line with other scripts or emoji is higher.
        height = 2.0
        block = self.document().firstBlock()
        while block.isValid():
            height += self.blockBoundingRect(block).height()
            block = block.next()
        if self.height() != math.ceil(height):
            self.setFixedHeight(math.ceil(height))
