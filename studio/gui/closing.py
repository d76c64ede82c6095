"""What happens to running jobs when the window closes: the user decides."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QWidget

from studio.core.runs.record import RunRecord
from studio.core.runs.words import describe_rest
from studio.gui.bridge.run_feed import RunFeed


class CloseQuestion:
    """Asks, while a run trains: keep training, stop and save, or stay."""

    def __init__(self, feed: RunFeed) -> None:
        self._feed = feed

    def __call__(self, window: QWidget) -> bool:
        """Returns True when the window may close."""
        runs = self._feed.alive_runs
        if not runs:
            return True
        box = build_question([run.record for run in runs], window)
        keep = box.addButton("Keep training", QMessageBox.ButtonRole.AcceptRole)
        stop = box.addButton("Stop and save", QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton("Stay here", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(keep)
        box.setEscapeButton(stay)
        box.exec()
        if box.clickedButton() is stop:
            self._feed.stop_all()
        return box.clickedButton() in (keep, stop)


def build_question(records: Sequence[RunRecord], window: QWidget) -> QMessageBox:
    """Returns the question about these runs, without its buttons."""
    box = QMessageBox(window)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Close LoRA Studio")
    first = records[0]
    rest = describe_rest(first)
    subject = f"“{first.name}” is" if len(records) == 1 else f"{len(records)} runs are"
    box.setText(f"{subject} still training{f' ({rest})' if rest and len(records) == 1 else ''}.")
    box.setInformativeText(
        "Training can go on without the window; open LoRA Studio again to watch it. Or stop now: "
        "everything is saved, and Resume goes on later."
    )
    return box
