"""As what the adapter is written: alone, or merged into its base."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card
from studio.gui.widgets.choice_card import ChoiceCard

_FORMATS = (
    (
        "adapter",
        "Adapter (PEFT)",
        "Small. For peft, transformers, vLLM and others, beside the base.",
    ),
    ("merged", "Merged model", "As large as the base. One safetensors folder for every tool."),
)
_LATER = (
    ("GGUF", "For llama.cpp and LM Studio. Not available yet."),
    ("Ollama", "A model for Ollama. Not available yet."),
)


class FormatCard(Card):
    """One card per format; those to come are grey and say so.

    Signals:
        chosen: ``adapter`` or ``merged``.
    """

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("2. Format", parent=parent)
        self._cards: dict[str, ChoiceCard] = {}
        row = QHBoxLayout()
        row.setSpacing(SIZES.s)
        for key, title, sentence in _FORMATS:
            card = ChoiceCard(title, sentence, "export")
            card.chosen.connect(lambda key=key: self.chosen.emit(key))
            self._cards[key] = card
            row.addWidget(card, 1)
        for title, sentence in _LATER:
            card = ChoiceCard(title, sentence, "lock")
            card.setEnabled(False)
            row.addWidget(card, 1)
        self.body.addLayout(row)

    def show_format(self, key: str) -> None:
        """Marks the format that will be written."""
        for name, card in self._cards.items():
            card.show_chosen(name == key)
