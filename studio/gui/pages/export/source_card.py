"""Which adapter is exported."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QWidget

from studio.gui.bridge.adapter_choice import AdapterChoice
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import ElidedLabel

_LONGEST_NAME = 60


class SourceCard(Card):
    """A list of all adapters of the history and a button for any other folder.

    Signals:
        chosen: The ``AdapterChoice`` to export.
        folder_requested: The user wants to pick an adapter folder.
    """

    chosen = Signal(object)
    folder_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("1. Adapter", parent=parent)
        self._choices: list[AdapterChoice] = []
        self._box = QComboBox()
        self._box.setAccessibleName("Adapter")
        self._box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._box.setMinimumContentsLength(20)
        self._box.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._box.activated.connect(lambda index: self.chosen.emit(self._choices[index]))
        folder = Button("Other folder…", "folder")
        folder.clicked.connect(self.folder_requested)
        self._place = ElidedLabel("", "caption")
        row = QHBoxLayout()
        row.setSpacing(SIZES.s)
        row.addWidget(self._box, 1)
        row.addWidget(folder)
        self.body.addLayout(row)
        self.body.addWidget(self._place)

    def show_choices(self, choices: Sequence[AdapterChoice], chosen: AdapterChoice | None) -> None:
        """Shows the adapters there are and which one is chosen."""
        self._choices = list(choices)
        self._box.clear()
        for choice in choices:
            name = choice.name
            if len(name) > _LONGEST_NAME:
                name = f"{name[:_LONGEST_NAME]}…"
            base = f"  (base {choice.base_name})" if choice.base else ""
            self._box.addItem(f"{name}{base}")
        index = self._choices.index(chosen) if chosen in self._choices else -1
        self._box.setCurrentIndex(index)
        self._box.setPlaceholderText("Choose an adapter" if choices else "No adapter yet")
        self._box.setEnabled(bool(choices))
        hint = "" if choices else "Train an adapter first, or choose the folder of one."
        self._place.setText(str(chosen.folder) if chosen is not None else hint)
