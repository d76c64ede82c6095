"""The line above the form that finds settings by a word, or shows only those that were changed."""

from __future__ import annotations

from PySide6.QtCore import QSize, Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QSizePolicy, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.icon import Icon
from studio.gui.widgets.labels import plain_tooltip


class SettingFinder(QWidget):
    """A search field and a switch; passive.

    Signals:
        wished: The words to look for, and whether only changed settings are wanted.
    """

    wished = Signal(str, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._field = QLineEdit()
        self._field.setPlaceholderText("Find a setting, for example memory")
        self._field.setAccessibleName("Find a setting")
        self._field.setClearButtonEnabled(True)
        self._field.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._field.textChanged.connect(self._emit)
        self._changed = Button("Changed", "pencil")
        self._changed.setCheckable(True)
        self._changed.setIconSize(QSize(16, 16))
        self._changed.toggled.connect(self._emit)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(SIZES.s)
        line.addWidget(Icon("search"))
        line.addWidget(self._field, 1)
        line.addWidget(self._changed)
        self.show_changed_count(0)

    @property
    def is_looking(self) -> bool:
        """Whether not all settings are wanted."""
        return bool(self._field.text().strip()) or self._changed.isChecked()

    def show_changed_count(self, count: int) -> None:
        """Shows how many settings differ from their defaults."""
        self._changed.setText(f"Changed ({count})")
        words = "setting differs" if count == 1 else "settings differ"
        self._changed.setAccessibleName(f"Show only changed settings: {count} {words}")
        self._changed.setToolTip(
            plain_tooltip(f"{count} {words} from the default. Press to see only those.")
        )

    def show_all(self) -> None:
        """Clears the search, for example to lead to a setting."""
        self._field.clear()
        self._changed.setChecked(False)

    def _emit(self, _value: object = None) -> None:
        self.wished.emit(self._field.text().strip(), self._changed.isChecked())
