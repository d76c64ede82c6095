"""Evaluations that were kept, each a click away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from studio.core.results.result import ResultSummary
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button, IconButton
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import ElidedLabel, PlainLabel

_SHOWN = 12


class HistoryCard(Card):
    """The newest evaluations of this home; hidden without any.

    Signals:
        chosen: The folder (``Path``) of the evaluation to show.
        delete_requested: The folder (``Path``) of the evaluation to delete.
    """

    chosen = Signal(object)
    delete_requested = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Earlier evaluations", parent=parent)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(SIZES.m)
        self._grid.setVerticalSpacing(SIZES.xs)
        self._grid.setColumnStretch(0, 1)
        self.body.addLayout(self._grid)
        self.hide()

    def show_results(self, results: Sequence[tuple[Path, ResultSummary]]) -> None:
        """Shows the newest evaluations."""
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for row, (folder, summary) in enumerate(results[:_SHOWN]):
            moment = time.strftime("%d %b, %H:%M", time.localtime(summary.time_seconds))
            show = Button("Show", "eye", "quiet")
            show.setAccessibleName(f"Show {summary.name}")
            show.clicked.connect(lambda _=False, folder=folder: self.chosen.emit(folder))
            delete = IconButton("trash", f"Delete {summary.name}")
            delete.clicked.connect(
                lambda _=False, folder=folder: self.delete_requested.emit(folder)
            )
            cells: tuple[QWidget, ...] = (
                ElidedLabel(summary.name),
                PlainLabel(f"{summary.rows:,} rows", "muted", wraps=False),
                PlainLabel(moment, "muted", wraps=False),
                show,
                delete,
            )
            for column, cell in enumerate(cells):
                self._grid.addWidget(cell, row, column)
        self.setVisible(bool(results))
