"""The working part of the page: state of the models, heads, answers, prompt box."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from studio.gui.pages.compare.column_strip import LEAST_WIDTH, ColumnStrip
from studio.gui.pages.compare.exchange_list import ExchangeList
from studio.gui.pages.compare.exchange_view import COLUMN_GAP
from studio.gui.pages.compare.line_up import Column
from studio.gui.pages.compare.prompt_box import PromptBox
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.labels import PlainLabel

_NOBODY = (
    "These answers were written earlier. Add an adapter above to ask something, or choose Use "
    "prompt in the history to load the same ones again."
)
_HINT = "Ask something below: base and adapters get exactly the same text and answer side by side."


class ChatView(QWidget):
    """Shows what it is told, and keeps heads and answers in line.

    Signals:
        part_changed: Something is seen in another width or place.
    """

    part_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = PlainLabel("", "muted")
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Loading the models")
        self.strip = ColumnStrip()
        self.list = ExchangeList()
        self.prompt = PromptBox()
        self._chosen_width = 0
        self._loading_words = ""
        self.strip.width_chosen.connect(self._on_strip_width_chosen)
        self.list.part_changed.connect(self._on_list_part_changed)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.s)
        for widget in (self._state, self._bar, self.strip):
            box.addWidget(widget)
        box.addWidget(self.list, 1)
        box.addWidget(self.prompt)
        self.show_ready()

    @property
    def waiting_words(self) -> str:
        """What a card without text says: what is loaded, or that it waits."""
        return self._loading_words or "Waiting …"

    def show_loading(self, words: str) -> None:
        """Shows that something is being loaded; prompts may be sent already."""
        self._loading_words = f"{words} …"
        self._state.setText(
            f"{words} … You can send a prompt already; it is answered as soon as all is loaded."
        )
        self._state.show()
        self._bar.show()

    def show_ready(self) -> None:
        """Shows that the models answer at once."""
        self._loading_words = ""
        self._bar.hide()
        self.show_hint()

    def show_hint(self) -> None:
        """Says what to do while there is nothing to see, or nothing any more."""
        if not self._loading_words:
            has_columns = bool(self.strip.heads)
            self._state.setText(_HINT if has_columns else _NOBODY)
            self._state.setVisible(self.list.count == 0 or not has_columns)
            self.prompt.setVisible(has_columns)
            if not has_columns:
                self._fit()

    def show_unloaded(self) -> None:
        """Shows that no models are loaded."""
        self._loading_words = ""
        self._bar.hide()
        self._state.hide()

    def show_columns(self, columns: Sequence[Column], *, is_blind: bool) -> None:
        """Shows the heads of the columns; a blind test has none."""
        self.strip.show_columns(columns)
        self.strip.setVisible(not is_blind)
        self.prompt.setVisible(bool(columns))
        self._fit()

    def _on_strip_width_chosen(self, width: int) -> None:
        self._chosen_width = width
        self._fit()

    def _on_list_part_changed(self, offset: int, _visible: int) -> None:
        self._fit(offset)

    def _fit(self, offset: int | None = None) -> None:
        count = len(self.strip.heads) or self.list.most_cards
        visible = self.list.viewport().width()
        fitting = (visible - COLUMN_GAP * (count - 1)) // count
        width = self._chosen_width or max(LEAST_WIDTH, fitting)
        self.list.show_column_width(width)
        at = self.list.horizontalScrollBar().value() if offset is None else offset
        self.strip.show_width(width, at)
        self.part_changed.emit()
