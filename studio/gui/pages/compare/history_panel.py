"""Earlier prompts with their answers, newest first, and a search through them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLineEdit, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from studio.core.compare.exchanges import KeptExchange
from studio.core.units import format_things
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.question import confirm_loss

_PLACE = Qt.ItemDataRole.UserRole
_MOST_SHOWN = 300


class HistoryPanel(QWidget):
    """Shows what it is told.

    Signals:
        show_requested: This ``KeptExchange`` is to be shown among the answers.
        reuse_requested: The prompt of this ``KeptExchange`` is wanted in the prompt box.
        clear_requested: The whole history is to be deleted.
    """

    show_requested = Signal(object)
    reuse_requested = Signal(object)
    clear_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._exchanges: list[KeptExchange] = []
        self.notice = Notice()
        self._none = PlainLabel("What you ask is kept here, on this machine only.", "muted")
        self._search = QLineEdit()
        self._search.setPlaceholderText("Search prompts and answers")
        self._search.setAccessibleName("Search prompts and answers")
        self._search.setClearButtonEnabled(True)
        self._search.textChanged.connect(self._fill)
        self._list = QListWidget()
        self._list.setAccessibleName("Earlier prompts")
        self._list.setWordWrap(True)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.itemActivated.connect(lambda _: self._on_show_clicked())
        self._list.currentRowChanged.connect(lambda _: self._enable())
        self._show = Button("Show answers", "eye")
        self._show.clicked.connect(self._on_show_clicked)
        self._reuse = Button("Use prompt", "pencil")
        self._reuse.clicked.connect(self._on_reuse_clicked)
        self._clear = Button("Delete all", "trash", "danger")
        self._clear.clicked.connect(self._on_clear_clicked)
        tools = QWidget()
        flow = FlowRow(tools)
        for button in (self._show, self._reuse, self._clear):
            flow.addWidget(button)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, SIZES.s, SIZES.s)
        box.setSpacing(SIZES.s)
        box.addWidget(self.notice)
        box.addWidget(self._none)
        box.addWidget(self._search)
        box.addWidget(self._list, 100)
        box.addWidget(tools)
        box.addStretch(1)
        self.show_exchanges([])

    def show_exchanges(self, exchanges: Sequence[KeptExchange]) -> None:
        """Lists exchanges, oldest first in ``exchanges``."""
        self._exchanges = list(reversed(exchanges))
        has_any = bool(exchanges)
        self._none.setVisible(not has_any)
        for widget in (self._search, self._list):
            widget.setVisible(has_any)
        self._clear.setEnabled(has_any)
        self._fill()

    def _fill(self) -> None:
        wanted = self._search.text().casefold().strip()
        self._list.clear()
        for place, exchange in enumerate(self._exchanges):
            if self._list.count() >= _MOST_SHOWN:
                break
            texts = [exchange.prompt, *(answer.text for answer in exchange.answers)]
            if wanted and not any(wanted in text.casefold() for text in texts):
                continue
            item = QListWidgetItem(_describe(exchange))
            item.setData(_PLACE, place)
            self._list.addItem(item)
        self._enable()

    def _enable(self) -> None:
        is_chosen = self._list.currentItem() is not None
        self._show.setEnabled(is_chosen)
        self._reuse.setEnabled(is_chosen)

    def _find_current(self) -> KeptExchange | None:
        item = self._list.currentItem()
        return None if item is None else self._exchanges[int(item.data(_PLACE))]

    def _on_show_clicked(self) -> None:
        exchange = self._find_current()
        if exchange is not None:
            self.show_requested.emit(exchange)

    def _on_reuse_clicked(self) -> None:
        exchange = self._find_current()
        if exchange is not None:
            self.reuse_requested.emit(exchange)

    def _on_clear_clicked(self) -> None:
        count = format_things(len(self._exchanges), "prompt")
        loss = f"{count} and what was answered are removed for good. Votes stay."
        if confirm_loss(self, "Delete the history", "Delete the whole history?", loss):
            self.clear_requested.emit()


def _describe(exchange: KeptExchange) -> str:
    line = " ".join(exchange.prompt.split())
    line = line if len(line) <= 70 else f"{line[:69]}…"
    moment = time.strftime("%d %b %H:%M", time.localtime(exchange.time_seconds))
    names = ", ".join(answer.title for answer in exchange.answers)
    names = names if len(names) <= 60 else f"{names[:59]}…"
    return f"{line}\n{moment} · {names}"
