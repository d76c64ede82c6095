"""As what the adapter is written: alone, merged into its base, or as a file for llama.cpp."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card
from studio.gui.widgets.choice_card import ChoiceCard
from studio.gui.widgets.labels import PlainLabel

_FORMATS = (
    (
        "adapter",
        "Adapter (PEFT)",
        "Small. For peft, transformers, vLLM and others, beside the base.",
    ),
    ("merged", "Merged model", "As large as the base. One safetensors folder for every tool."),
    ("gguf", "GGUF", "One file for llama.cpp and LM Studio, in the size that you choose."),
    (
        "gguf_lora",
        "Adapter (GGUF)",
        "Small. For llama.cpp, beside a GGUF file of the same base.",
    ),
    ("ollama", "Ollama", "A GGUF file with the Modelfile that Ollama needs beside it."),
    ("capsule", "Capsule", "The whole run in one file, to keep, pass on or train again."),
)
_QUANTS = (
    ("q8_0", "8 bits - nearly exact"),
    ("q6_k", "6 bits - very good"),
    ("q5_k_m", "5 bits - good"),
    ("q4_k_m", "4 bits - small, a little less exact"),
    ("q4_0", "4 bits - old format, for old programs"),
    ("f16", "16 bits - exact, large"),
    ("bf16", "16 bits, bfloat - exact, large"),
    ("f32", "32 bits - exact, very large"),
)
_PER_ROW = 3
_QUANTISED = ("gguf", "ollama")


class FormatCard(Card):
    """One card per format, and the size of a number where the format leaves the choice.

    Signals:
        chosen: ``adapter``, ``merged``, ``gguf``, ``gguf_lora``, ``ollama`` or ``capsule``.
        quant_chosen: The number format of a GGUF file, such as ``q8_0``.
    """

    chosen = Signal(str)
    quant_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("2. Format", parent=parent)
        self._cards: dict[str, ChoiceCard] = {}
        rows = QGridLayout()
        rows.setSpacing(SIZES.s)
        for place, (key, title, sentence) in enumerate(_FORMATS):
            card = ChoiceCard(title, sentence, "export")
            card.chosen.connect(lambda key=key: self.chosen.emit(key))
            self._cards[key] = card
            rows.addWidget(card, *divmod(place, _PER_ROW))
        for column in range(_PER_ROW):
            rows.setColumnStretch(column, 1)
        self.body.addLayout(rows)
        self._quant = QComboBox()
        self._quant.setAccessibleName("Size of the numbers")
        for key, words in _QUANTS:
            self._quant.addItem(words, key)
        self._quant.activated.connect(
            lambda index: self.quant_chosen.emit(self._quant.itemData(index))
        )
        self._quant_row = QWidget()
        line = QHBoxLayout(self._quant_row)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(PlainLabel("Size of the numbers", wraps=False))
        line.addWidget(self._quant)
        line.addStretch(1)
        self.body.addWidget(self._quant_row)

    def show_format(self, key: str, quant: str) -> None:
        """Marks the format that will be written."""
        for name, card in self._cards.items():
            card.show_chosen(name == key)
        self._quant.setCurrentIndex(self._quant.findData(quant))
        self._quant_row.setVisible(key in _QUANTISED)
