"""A card that can be chosen: a title, a sentence, and a mark when it is in use."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.icon import Icon
from studio.gui.widgets.labels import Chip, ChipKind, PlainLabel, plain_tooltip, repolish

_PRESSES = (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter)


class ChoiceCard(QFrame):
    """A small card that works like a button: a click, space or return chooses it.

    Signals:
        chosen: The user wants what the card stands for.
    """

    chosen = Signal()

    def __init__(
        self, title: str, sentence: str, icon: str = "plus", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setProperty("kind", "choice")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._icon_name = icon
        self._details = ""
        self._name = f"{title}. {sentence}"
        self._mark = Icon(icon, "faint")
        self._state = Chip()
        self._state.hide()
        top = QHBoxLayout()
        top.setSpacing(SIZES.s)
        top.addWidget(PlainLabel(title, "strong"), 1)
        top.addWidget(self._mark, 0, Qt.AlignmentFlag.AlignTop)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.m, SIZES.m, SIZES.m, SIZES.m)
        box.setSpacing(SIZES.xs)
        box.addLayout(top)
        self._sentence = PlainLabel(sentence, "caption")
        box.addWidget(self._sentence)
        box.addStretch(1)
        box.addSpacing(SIZES.xs)
        box.addWidget(self._state, 0, Qt.AlignmentFlag.AlignLeft)
        self.show_chosen(False)

    def show_state(self, text: str, kind: ChipKind = "plain") -> None:
        """Shows a word about the card, such as a finding; none when the text is empty."""
        self._state.show_state(text, kind)
        self._state.setVisible(bool(text))
        self.setAccessibleDescription(text)

    def show_sentence(self, is_shown: bool) -> None:
        """Shows the sentence on the card, or only on hover where space is short."""
        self._sentence.setVisible(is_shown)
        self._show_tooltip()

    def show_details(self, details: str) -> None:
        """Shows more on hover."""
        self._details = details
        self._show_tooltip()

    def _show_tooltip(self) -> None:
        sentence = "" if not self._sentence.isHidden() else self._sentence.text()
        text = "\n\n".join(part for part in (sentence, self._details) if part)
        self.setToolTip(plain_tooltip(text) if text else "")

    def show_chosen(self, is_chosen: bool) -> None:
        """Marks the card as in use."""
        if is_chosen:
            self._mark.show_icon("success", "accent")
        else:
            self._mark.show_icon(self._icon_name, "faint")
        self.setAccessibleName(self._name + (" In use." if is_chosen else ""))
        if self.property("chosen") != is_chosen:
            self.setProperty("chosen", is_chosen)
            repolish(self)
            repolish(self._state)  # its colour depends on the card

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Chooses the card."""
        super().mouseReleaseEvent(event)
        is_left = event.button() == Qt.MouseButton.LeftButton
        if is_left and self.rect().contains(event.position().toPoint()):
            self.chosen.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Chooses the card by keyboard."""
        if event.key() in _PRESSES:
            self.chosen.emit()
        else:
            super().keyPressEvent(event)
