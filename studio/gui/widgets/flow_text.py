"""Text of any length and any words: wraps everywhere, is as high as it needs, stays plain."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QColor, QPalette, QResizeEvent, QTextCursor, QTextOption
from PySide6.QtWidgets import QFrame, QPlainTextEdit, QSizePolicy, QTextEdit, QWidget

from studio.gui.theme.tokens import blend, colours_of
from studio.gui.widgets.icon import Tone, get_tone


class FlowText(QPlainTextEdit):
    """A read-only text without frame or scroll bars that can be selected and copied as it is.

    A label would grow as wide as its longest word; model answers have words of any length.
    """

    def __init__(self, text: str = "", tone: Tone = "text", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tone: Tone = tone
        self._marks: tuple[tuple[int, int], ...] = ()
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
        self.show_marks(())
        self.setPlainText(text)
        self._paint_text()
        self._fit()

    def add_text(self, text: str) -> None:
        """Adds a piece at the end; nothing before it is laid out again."""
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.insertText(text)
        self._fit()

    def show_marks(self, spans: Sequence[tuple[int, int]]) -> None:
        """Colours the background of some parts, each a start and an end in characters.

        They stay until other parts or another text are shown.
        """
        if tuple(spans) != self._marks:
            self._marks = tuple(spans)
            self._paint_marks()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Becomes as high as the text needs at the new width."""
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Takes over the colour of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._paint_text()
            self._paint_marks()

    def _paint_text(self) -> None:
        colour = QColor(get_tone(colours_of(self), self._tone))
        palette = self.palette()
        if palette.color(QPalette.ColorRole.Text) != colour:
            palette.setColor(QPalette.ColorRole.Text, colour)
            self.setPalette(palette)

    def _paint_marks(self) -> None:
        colours = colours_of(self)
        places = _list_places(self.toPlainText(), self._marks)
        selections = []
        for start, end in places:
            selection = QTextEdit.ExtraSelection()
            cursor = QTextCursor(self.document())
            cursor.setPosition(start)
            cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
            selection.cursor = cursor
            selection.format.setBackground(blend(colours.warning_soft, colours.warning, 0.1))
            selections.append(selection)
        self.setExtraSelections(selections)

    def _fit(self) -> None:
        # Not lines times line spacing: a line with other scripts or emoji is higher.
        height = 2.0
        block = self.document().firstBlock()
        while block.isValid():
            height += self.blockBoundingRect(block).height()
            block = block.next()
        if self.height() != math.ceil(height):
            self.setFixedHeight(math.ceil(height))


def _list_places(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns spans of characters as Qt counts them: those outside the first plane are two."""
    if text.isascii() or max(text) <= "\uffff":
        return list(spans)
    places, units = [0], 0
    for character in text:
        units += 1 + (character > "\uffff")
        places.append(units)
    return [(places[start], places[end]) for start, end in spans]
