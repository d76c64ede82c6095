"""The way from a model to a result in four steps, each leading to its page."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.choice_card import ChoiceCard

_STEPS = (
    ("model", "1. Choose a model", "Any language model on this machine with safetensors files."),
    ("data", "2. Choose data", "A file with examples of what it should learn to write."),
    ("train", "3. Train", "Watch the loss fall. Pause, stop and go on whenever you like."),
    ("compare", "4. Compare, export", "Read old and new answers side by side, take the result."),
)


class StepStrip(QWidget):
    """Four cards side by side.

    Signals:
        page_requested: The key of the page of a step.
    """

    page_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SIZES.m)
        for key, title, sentence in _STEPS:
            card = ChoiceCard(title, sentence, key)
            card.chosen.connect(partial(self.page_requested.emit, key))
            row.addWidget(card, 1)
