"""What the run mended by itself last, until the user has taken note of it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QWidget

from studio.core.runs.incidents import Incident
from studio.gui.widgets.notice import Notice


class IncidentBar(Notice):
    """The newest incident in words, with a button that puts it away; hidden without any."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._run = ""
        self._shown: Sequence[Incident] = ()
        self._noted = 0
        self.action_requested.connect(self._on_action_requested)

    def show_incidents(self, run: str, incidents: Sequence[Incident]) -> None:
        """Shows the newest of the incidents of ``run``, unless it was put away already."""
        if run != self._run:
            self._run, self._shown, self._noted = run, (), 0
            self.clear()
        if incidents == self._shown:
            return
        self._shown = incidents
        if not incidents:
            self.clear()
        if len(incidents) <= self._noted:
            return
        newest = incidents[-1]
        earlier = len(incidents) - 1
        more = ""
        if earlier:
            more = f"{earlier} earlier {'note is' if earlier == 1 else 'notes are'} in the log."
        message = f"{newest.title} (step {newest.step:,}). {newest.message}"
        remedy = f"{newest.remedy} {more}".strip()
        self.show_message(newest.severity, message, remedy, "Noted")

    def _on_action_requested(self) -> None:
        self._noted = len(self._shown)
        self.clear()
