"""Earlier exports, each a click away."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from studio.gui.bridge.export_history import ExportRecord
from studio.gui.pages.export.snippets import NAMES
from studio.gui.pages.export.tools import get_tool
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import Chip, ElidedLabel, PlainLabel

_SHOWN = 8


class HistoryCard(Card):
    """The newest exports of this home.

    Signals:
        chosen: The ``ExportRecord`` to show in full.
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Earlier exports", parent=parent)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(SIZES.m)
        self._grid.setVerticalSpacing(SIZES.xs)
        self._grid.setColumnStretch(0, 2)
        self._grid.setColumnStretch(2, 3)
        self.body.addLayout(self._grid)
        self.hide()

    def show_records(self, records: Sequence[ExportRecord]) -> None:
        """Shows the newest exports; without any the card hides."""
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for row, record in enumerate(records[:_SHOWN]):
            moment = time.strftime("%d %b, %H:%M", time.localtime(record.time_seconds))
            name = ElidedLabel(record.name, mode=Qt.TextElideMode.ElideRight)
            chip = Chip(*(("Verified", "success") if record.is_verified else ("Failed", "error")))
            show = Button("Show", "eye", "quiet")
            show.setAccessibleName(f"Show the export of {record.name}")
            show.clicked.connect(lambda _=False, record=record: self.chosen.emit(record))
            cells: tuple[QWidget, ...] = (
                name,
                PlainLabel(_name_kind(record), "muted", wraps=False),
                ElidedLabel(record.folder, "muted"),
                PlainLabel(moment, "muted", wraps=False),
                chip,
                show,
            )
            for column, cell in enumerate(cells):
                self._grid.addWidget(cell, row, column)
        self.setVisible(bool(records))


def _name_kind(record: ExportRecord) -> str:
    """Returns what was written, and for which tool where that says more."""
    title = get_tool(record.tool).title if record.tool in ("vllm", "lm_studio", "hub") else ""
    return f"{NAMES[record.target]}, {title}" if title else NAMES[record.target]
