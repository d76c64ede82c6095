"""A few choices side by side of which exactly one holds."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QSizePolicy, QWidget

from studio.gui.widgets.buttons import Button


class Segmented(QWidget):
    """Buttons like tabs; arrow keys walk between them.

    Signals:
        chosen: The value that the user chose.
    """

    chosen = Signal(str)

    def __init__(
        self,
        name: str,
        choices: Sequence[tuple[str, str, str]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._buttons: dict[str, Button] = {}
        group = QButtonGroup(self)
        group.setExclusive(True)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for value, words, icon in choices:
            button = Button(words, icon)
            button.setCheckable(True)
            button.setIconSize(QSize(16, 16))
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            button.setAccessibleName(f"{name}: {words}")
            button.clicked.connect(lambda _=False, value=value: self.chosen.emit(value))
            group.addButton(button)
            self._buttons[value] = button
            row.addWidget(button)

    def show_words(self, value: str, words: str) -> None:
        """Changes the words on a choice."""
        button = self._buttons[value]
        button.setText(words)
        button.setAccessibleName(f"{self.accessibleName()}: {words}")

    def show_value(self, value: str) -> None:
        """Marks the choice that holds; unknown values mark none."""
        button = self._buttons.get(value)
        if button is not None:
            button.setChecked(True)
