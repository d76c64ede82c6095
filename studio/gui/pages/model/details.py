"""The chosen model: its facts, its layers, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.units import format_bytes, format_count
from studio.core.weights.layers import ModelLayers
from studio.core.weights.local import FoundModel
from studio.core.weights.stored import STORED_HINT, STORED_WORDS
from studio.core.weights.tree import build_tree
from studio.gui.pages.model.found_list import shorten_architecture
from studio.gui.pages.model.layer_tree import LayerTree
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import Chip, ElidedLabel, PlainLabel
from studio.gui.widgets.notice import Notice


class ModelDetails(Card):
    """A card with everything known about one model."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self.setAccessibleName("Chosen model")
        self._name = ElidedLabel("", "heading")
        self._chip = Chip()
        self._path = ElidedLabel("", "caption")
        self._facts: dict[str, PlainLabel] = {}
        self._notice = Notice()
        self._tree = LayerTree()
        self._legend = PlainLabel(
            "The last column shows where the adapter will sit; change that on the Recipe page.",
            "caption",
        )
        top = QHBoxLayout()
        top.setSpacing(SIZES.s)
        top.addWidget(self._name, 1)
        top.addWidget(self._chip, 0, Qt.AlignmentFlag.AlignVCenter)
        head = QVBoxLayout()
        head.setSpacing(2)
        head.addLayout(top)
        head.addWidget(self._path)
        self.body.addLayout(head)
        self.body.addLayout(self._build_facts())
        self.body.addWidget(self._notice)
        self.body.addWidget(self._tree, 1)
        self.body.addWidget(self._legend)
        self.body.addStretch(0)

    def show_name(self, name: str, folder: str) -> None:
        """Shows which model is chosen, before anything else is known."""
        self._name.setText(name)
        self._path.setText(folder)
        self._chip.show_state("Reading …", "plain")
        self._show_parts(has_layers=False)
        self._notice.clear()

    def show_layers(self, layers: ModelLayers) -> None:
        """Shows the facts and the layers of a usable model."""
        self._chip.show_state("Chosen", "success")
        dtypes = {m.dtype for m in layers.modules if m.size_bytes}
        for key, text in (
            ("kind", shorten_architecture(layers.architecture or layers.model_type)),
            ("parameters", format_count(layers.parameters)),
            ("layers", str(layers.layer_count)),
            ("size", format_bytes(layers.size_bytes)),
            ("format", ", ".join(sorted(dtypes))),
        ):
            self._facts[key].setText(text)
        self._tree.show_tree(build_tree(layers))
        if layers.stored == "none":
            self._notice.clear()
        else:
            words = f"The files hold the linear layers in {STORED_WORDS[layers.stored]} already."
            self._notice.show_message("note", words, STORED_HINT)
        self._show_parts(has_layers=True)

    def show_ranks(self, ranks: Mapping[str, int]) -> None:
        """Shows which modules the recipe adapts."""
        self._tree.show_ranks(ranks)

    def show_unusable(self, model: FoundModel) -> None:
        """Shows why a model cannot be used and what to do."""
        self.show_name(model.name, str(model.folder))
        self._chip.show_state("Cannot be used", "warning")
        self._notice.show_message("warning", model.problem, model.remedy)

    def show_error(self, error: StudioError) -> None:
        """Shows why the chosen model cannot be read."""
        self._chip.show_state("Cannot be used", "error")
        self._show_parts(has_layers=False)
        self._notice.show_error(error)

    def _build_facts(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(SIZES.xl)
        for key, words in (
            ("kind", "Architecture"),
            ("parameters", "Parameters"),
            ("layers", "Layers"),
            ("size", "Size"),
            ("format", "Numbers"),
        ):
            column = QVBoxLayout()
            column.setSpacing(0)
            value = PlainLabel("", "strong", wraps=False)
            value.setAccessibleName(words)
            column.addWidget(PlainLabel(words, "caption", wraps=False))
            column.addWidget(value)
            self._facts[key] = value
            row.addLayout(column)
        row.addStretch(1)
        return row

    def _show_parts(self, *, has_layers: bool) -> None:
        self._tree.setVisible(has_layers)
        self._legend.setVisible(has_layers)
        if not has_layers:
            for value in self._facts.values():
                value.setText("—")
