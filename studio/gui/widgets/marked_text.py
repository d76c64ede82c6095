"""A text in which some pieces are marked, such as the words in which two answers differ."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QWidget

from studio.core.word_diff import Piece, list_changed
from studio.gui.widgets.flow_text import FlowText


class MarkedText(FlowText):
    """Plain text of any length with a soft background behind the marked pieces."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent=parent)

    def show_pieces(self, pieces: Sequence[Piece]) -> None:
        """Shows a text made of pieces and marks those that changed."""
        self.show_text("".join(piece.text for piece in pieces))
        self.show_marks(list_changed(pieces))
