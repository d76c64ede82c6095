"""A part of a page that can be folded away."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button


class Fold(QWidget):
    """A button with an arrow and a body below it that it shows or hides.

    ``of`` names what the body belongs to, for screen readers.

    Signals:
        toggled: True when the body is shown now.
    """

    toggled = Signal(bool)

    def __init__(
        self, words: str, of: str = "", parent: QWidget | None = None, *, is_open: bool = False
    ) -> None:
        super().__init__(parent)
        self._name = f"{words}: {of}" if of else words
        self._words = words
        self._button = Button(words, "chevron-right", "quiet")
        self._button.setProperty("compact", True)
        self._button.clicked.connect(self._on_clicked)
        self._content = QWidget()
        self.body = QVBoxLayout(self._content)
        self.body.setContentsMargins(0, SIZES.s, 0, 0)
        self.body.setSpacing(SIZES.l)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self._button, 0, Qt.AlignmentFlag.AlignLeft)
        box.addWidget(self._content)
        self.show_open(is_open)

    @property
    def is_open(self) -> bool:
        """True while the body is shown."""
        return not self._content.isHidden()

    def show_open(self, is_open: bool) -> None:
        """Shows or hides the body."""
        self._content.setVisible(is_open)
        self._button.set_text_and_icon(self._words, "chevron-down" if is_open else "chevron-right")
        state = "shown" if is_open else "hidden"
        self._button.setAccessibleName(self._name)
        self._button.setAccessibleDescription(f"{self._words}: {state}")

    def show_button(self, is_shown: bool) -> None:
        """Shows the button, or only the body."""
        self._button.setVisible(is_shown)

    def _on_clicked(self) -> None:
        self.show_open(not self.is_open)
        self.toggled.emit(self.is_open)
