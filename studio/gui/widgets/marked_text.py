"""A text in which some pieces are marked, such as the words in which two answers differ."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent
from PySide6.QtGui import QColor, QTextCursor
from PySide6.QtWidgets import QTextEdit, QWidget

from studio.core.word_diff import Piece
from studio.gui.theme.tokens import colours_of
from studio.gui.widgets.flow_text import FlowText


class MarkedText(FlowText):
    """Plain text of any length with a soft background behind the marked pieces."""

    def __init__(self, parent: QWidget | None = None) -> None:
        self._marks: list[tuple[int, int]] = []
        super().__init__("", parent=parent)

    def show_pieces(self, pieces: Sequence[Piece]) -> None:
        """Shows a text made of pieces and marks those that changed."""
        self._marks = []
        start = 0
        for piece in pieces:
            # Qt counts in units of UTF-16, where an emoji has two
            length = len(piece.text.encode("utf-16-le", "surrogatepass")) // 2
            if piece.is_changed:
                self._marks.append((start, start + length))
            start += length
        self.show_text("".join(piece.text for piece in pieces))
        self._paint_marks()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Takes over the colours of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._paint_marks()

    def _paint_marks(self) -> None:
        selections = []
        for start, end in self._marks:
            selection = QTextEdit.ExtraSelection()
            cursor = QTextCursor(self.document())
            cursor.setPosition(start)
            cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
            selection.cursor = cursor
            selection.format.setBackground(QColor(colours_of(self).accent_soft))
            selection.format.setForeground(QColor(colours_of(self).accent))
            selections.append(selection)
        self.setExtraSelections(selections)
