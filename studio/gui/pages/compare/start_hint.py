"""What the Compare page shows before there is a column: the one thing to do next."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.gui.widgets.empty_state import EmptyState

_ICON, _TITLE = "compare", "Nothing to compare yet"
_TRAIN = "Add the adapter of a run, or drop the folder of one here. It answers beside its base."
_ADD = (
    "Add an adapter that you trained, or drop the folder of one here. It answers beside its base, "
    "and beside its own checkpoints if you add them."
)


class StartHint(EmptyState):
    """Leads to training while there is no adapter, and to the list of adapters once there is.

    Signals:
        train_requested: The user wants to train a first adapter.
        add_requested: The user wants to see which adapters can be added.
    """

    train_requested = Signal()
    add_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(_ICON, _TITLE, _TRAIN, "Train an adapter", parent)
        self._has_adapters = False
        self.action_requested.connect(self._on_action_requested)

    def show_has_adapters(self, has_adapters: bool) -> None:
        """Offers the adapters of the history if there are any."""
        self._has_adapters = has_adapters
        if has_adapters:
            self.show_reason(_ICON, _TITLE, _ADD, "Add an adapter")
        else:
            self.show_reason(_ICON, _TITLE, _TRAIN, "Train an adapter")

    def _on_action_requested(self) -> None:
        (self.add_requested if self._has_adapters else self.train_requested).emit()
