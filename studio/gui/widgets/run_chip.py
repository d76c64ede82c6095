"""The state of a run as a coloured word."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from studio.core.runs.record import Status
from studio.core.runs.words import STATUS_WORDS
from studio.gui.widgets.labels import Chip, ChipKind

CHIP_KINDS: dict[Status, ChipKind] = {
    "queued": "plain",
    "starting": "accent",
    "running": "accent",
    "paused": "warning",
    "finished": "success",
    "stopped": "warning",
    "failed": "error",
    "interrupted": "error",
}


class RunChip(Chip):
    """A chip that knows the words and colours of run states."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", "plain", parent)
        self.hide()

    def show_status(self, status: Status) -> None:
        """Shows the state of a run."""
        self.show_state(STATUS_WORDS[status], CHIP_KINDS[status])
        self.setVisible(True)
