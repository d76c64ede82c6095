"""How the base is held in memory where adapters are used."""

from __future__ import annotations

from typing import cast

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QWidget

from studio.core.weights.quantisable import BASE_FORMS, BaseForm
from studio.gui.bridge.adapter_selection import AdapterSelection
from studio.gui.parts.adapter_picker import AdapterPicker
from studio.gui.widgets.card import Card, build_row
from studio.gui.widgets.labels import PlainLabel

FORM_NAME = "Base in memory"
FORM_HELP = (
    "An adapter trained over a base in 4 or 8 bits has learnt around its small errors: it answers "
    "as in training only over the base in the same form."
)


class BaseFormBox(QComboBox):
    """A list of the ways to hold a base; the first is what the adapters saw in training.

    Signals:
        form_chosen: The user chose another way.
    """

    form_chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(FORM_NAME)
        self.setAccessibleDescription(FORM_HELP)
        for form, (words, explanation) in BASE_FORMS.items():
            self.addItem(words, form)
            self.setItemData(self.count() - 1, explanation, Qt.ItemDataRole.ToolTipRole)
        self._show_help()
        self.activated.connect(self._on_activated)

    @property
    def form(self) -> BaseForm:
        """The chosen way."""
        return cast(BaseForm, self.currentData())

    def show_form(self, form: BaseForm) -> None:
        """Shows a way as chosen."""
        self.setCurrentIndex(self.findData(form))
        self._show_help()

    def _show_help(self) -> None:
        self.setToolTip(BASE_FORMS[self.form][1])

    def _on_activated(self) -> None:
        self._show_help()
        self.form_chosen.emit()


class ModelsCard(Card):
    """A card with a base, adapters, and how the base is held: what a page measures."""

    def __init__(
        self, title: str, words: str, selection: AdapterSelection, parent: QWidget | None = None
    ) -> None:
        super().__init__(title, words, parent)
        box = BaseFormBox()
        box.form_chosen.connect(lambda: selection.set_form(box.form))
        self.body.addWidget(AdapterPicker(selection))
        self.body.addLayout(build_row(PlainLabel(FORM_NAME, wraps=False), box))
        self.body.addWidget(PlainLabel(FORM_HELP, "caption"))
