"""What became of the base's knowledge: one sentence, and a tile per area and adapter."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.core.forgetting.report import ForgettingReport
from studio.core.forgetting.verdict import REMEDY, describe_outcome
from studio.gui.pages.forgetting.verdict_grid import VerdictGrid
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.notice import Notice

_LEGEND = (
    "Click a tile to read the answers. Kept: what the base answers rightly is still right. "
    "Changed: a little was lost, or the words are quite different. Broke: much of it is gone. "
    "KL says how far the adapter's choice of words is from the base's, in nats per token."
)


class ResultCard(Card):
    """Shows a report; hidden before the first.

    Signals:
        chosen: Area and column of the tile whose prompts are to be shown.
    """

    chosen = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("What became of the base's knowledge", parent=parent)
        self.save = Button("Save as…", "download")
        self.outcome = Notice()
        self.grid = VerdictGrid()
        self.grid.chosen.connect(self.chosen)
        self.top.addWidget(self.save)
        for widget in (self.outcome, self.grid, PlainLabel(_LEGEND, "caption")):
            self.body.addWidget(widget)
        self.hide()

    def show_report(self, report: ForgettingReport) -> None:
        """Shows what a check has found; red where something broke."""
        severity, words = describe_outcome(report.verdicts)
        self.outcome.show_message(severity, words, REMEDY if severity == "error" else "")
        self.grid.show_verdicts(report.verdicts)
        self.show()
