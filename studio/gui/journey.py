"""How far the user has walked from the model to the export."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal


class Journey(QObject):
    """Which steps are done or at work; pages mark them, the rail shows them.

    Signals:
        marked: The step with this key is done (second value) or at work (third value).
    """

    marked = Signal(str, bool, bool)

    def mark(self, key: str, *, is_done: bool = False, is_active: bool = False) -> None:
        """Marks the step with the key of its page."""
        self.marked.emit(key, is_done, is_active)
