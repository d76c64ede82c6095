"""The left side of the model page: what was found on this machine, and a button to look again."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.weights.local import FoundModel
from studio.gui.pages.model.found_list import FoundList
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import IconButton
from studio.gui.widgets.labels import PlainLabel

_WIDTH = 292


class FoundPanel(QWidget):
    """A heading, the list, and a line about the search.

    Signals:
        model_selected: The user chose this ``FoundModel``, usable or not.
        search_requested: Look again.
    """

    model_selected = Signal(object)
    search_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedWidth(_WIDTH)
        self._models: Sequence[FoundModel] = ()
        self._list = FoundList()
        self._list.model_selected.connect(self.model_selected)
        self._state = PlainLabel("", "caption")
        again = IconButton("refresh", "Look for models again")
        again.clicked.connect(self.search_requested)
        top = QHBoxLayout()
        top.addWidget(PlainLabel("On this machine", "strong"), 1)
        top.addWidget(again)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.s)
        box.addLayout(top)
        box.addWidget(self._list, 1)
        box.addWidget(self._state)

    def find_name(self, reference: str) -> str:
        """Return what the model that a recipe calls ``reference`` is called; empty if unknown."""
        return next((model.name for model in self._models if model.reference == reference), "")

    def show_searching(self) -> None:
        """Says that a search goes on."""
        self._state.setText("Looking for models …")

    def show_models(self, models: Sequence[FoundModel], reference: str) -> None:
        """Shows what was found and marks the model that a recipe calls ``reference``."""
        self._models = models
        usable = sum(model.is_usable for model in models)
        rest = len(models) - usable
        words = f"{usable} usable" + (f", {rest} not" if rest else "")
        self._state.setText(f"{words}. Settings has a list of more folders to search.")
        self._list.show_models(models, reference)

    def show_error(self, error: StudioError) -> None:
        """Shows why the search ended."""
        self._state.setText(str(error))
