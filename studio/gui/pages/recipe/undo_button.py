"""The button that takes the last change of the draft back."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QWidget

from studio.core.recipe.fields import get_field_table
from studio.gui.widgets.buttons import IconButton
from studio.gui.widgets.labels import plain_tooltip


class UndoButton(IconButton):
    """Works with Ctrl+Z as well, anywhere on ``page``; passive: ``clicked`` is the wish."""

    def __init__(self, page: QWidget) -> None:
        super().__init__("undo", "Undo", page)
        shortcut = QShortcut(QKeySequence(QKeySequence.StandardKey.Undo), page)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(self.click)
        self.show_last("")

    def show_last(self, change: str) -> None:
        """Shows what would be taken back: a dotted path, or words; empty means nothing."""
        spec = get_field_table().get(change)
        words = f"Undo: {spec.label if spec else change}"
        self.setEnabled(bool(change))
        self.setAccessibleName(words if change else "Undo")
        self.setToolTip(plain_tooltip(f"{words} (Ctrl+Z)" if change else "Nothing to undo"))
