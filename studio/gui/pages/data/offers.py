"""What the data page shows while no data is chosen: how to choose, and the starter's data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.core.starter import StarterDataSet
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.choice_card import ChoiceCard
from studio.gui.widgets.empty_state import EmptyState
from studio.gui.widgets.labels import PlainLabel


class DataOffers(QWidget):
    """An empty state with the starter's data sets below it.

    Signals:
        files_requested: The user wants to choose files.
        starter_chosen: The name of one of the starter's data sets.
    """

    files_requested = Signal()
    starter_chosen = Signal(str)

    def __init__(self, data_sets: Sequence[StarterDataSet], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        empty = EmptyState(
            "data",
            "No training data chosen yet",
            "Choose or drop a file with one example per row: chat messages, a prompt with its "
            "answer, instructions, or text. JSON, JSONL, CSV, Parquet, Arrow and text files are "
            "read, packed or not.",
            "Choose files…",
        )
        empty.action_requested.connect(self.files_requested)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.s)
        box.addWidget(empty, 1)
        if not data_sets:
            return
        box.addWidget(PlainLabel("Or try data that comes with the program", "strong"))
        row = QHBoxLayout()
        row.setSpacing(SIZES.m)
        for data_set in data_sets:
            card = ChoiceCard(data_set.title, data_set.description, "starter")
            card.chosen.connect(partial(self.starter_chosen.emit, data_set.name))
            row.addWidget(card, 1)
        box.addLayout(row)
