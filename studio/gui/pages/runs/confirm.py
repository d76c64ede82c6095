"""The question before runs are deleted."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QWidget

from studio.core.units import format_bytes
from studio.gui.bridge.run_catalog import RunRow

_NAMED = 5


def confirm_deletion(parent: QWidget, rows: Sequence[RunRow], size_bytes: int) -> bool:
    """Returns True when the user wants to delete these runs."""
    box = QMessageBox(parent)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setIcon(QMessageBox.Icon.Warning)
    box.setWindowTitle("Delete runs")
    box.setText(describe_question(rows))
    box.setInformativeText(
        f"{format_bytes(size_bytes)} of checkpoints, adapters and curves are removed for good. "
        "Exported files stay."
    )
    delete = box.addButton("Delete", QMessageBox.ButtonRole.DestructiveRole)
    keep = box.addButton("Keep", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(keep)
    box.setEscapeButton(keep)
    box.exec()
    return box.clickedButton() is delete


def describe_question(rows: Sequence[RunRow]) -> str:
    """Returns the question with the names of the runs."""
    if len(rows) == 1:
        return f"Delete the run {rows[0].record.name}?"
    names = [f"- {row.record.name}" for row in rows[:_NAMED]]
    if len(rows) > _NAMED:
        names.append(f"- and {len(rows) - _NAMED} more")
    return "\n".join([f"Delete {len(rows)} runs?", *names])
