"""Results of earlier visits, each a click away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button, IconButton
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import ElidedLabel, PlainLabel, Role

_SHOWN = 12


@dataclass(frozen=True)
class KeptEntry:
    """One kept result: where it lies, its name, a few words about it, when it was made."""

    path: Path
    name: str
    facts: str
    time_seconds: float
    role: Role = "muted"


class KeptCard(Card):
    """The newest results of a kind; hidden without any.

    Signals:
        chosen: The path (``Path``) of the result to show.
        delete_requested: The path (``Path``) of the result to delete.
    """

    chosen = Signal(object)
    delete_requested = Signal(object)

    def __init__(self, heading: str, parent: QWidget | None = None) -> None:
        super().__init__(heading, parent=parent)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(SIZES.m)
        self._grid.setVerticalSpacing(SIZES.xs)
        self._grid.setColumnStretch(0, 1)
        self.body.addLayout(self._grid)
        self.hide()

    def show_entries(self, entries: Sequence[KeptEntry]) -> None:
        """Shows the first of these results, the newest first."""
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for row, entry in enumerate(entries[:_SHOWN]):
            for column, cell in enumerate(self._build_cells(entry)):
                self._grid.addWidget(cell, row, column)
        self.setVisible(bool(entries))

    def _build_cells(self, entry: KeptEntry) -> tuple[QWidget, ...]:
        moment = time.strftime("%d %b, %H:%M", time.localtime(entry.time_seconds))
        show = Button("Show", "eye", "quiet")
        show.setAccessibleName(f"Show {entry.name}")
        show.clicked.connect(lambda: self.chosen.emit(entry.path))
        delete = IconButton("trash", f"Delete {entry.name}")
        delete.clicked.connect(lambda: self.delete_requested.emit(entry.path))
        return (
            ElidedLabel(entry.name),
            PlainLabel(entry.facts, entry.role, wraps=False),
            PlainLabel(moment, "muted", wraps=False),
            show,
            delete,
        )
