"""The question before runs are deleted."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QWidget

from studio.core.units import format_bytes
from studio.gui.bridge.run_catalog import RunRow
from studio.gui.widgets.question import confirm_loss

_NAMED = 5


def confirm_deletion(parent: QWidget, rows: Sequence[RunRow], size_bytes: int) -> bool:
    """Returns True when the user wants to delete these runs."""
    loss = (
        f"{format_bytes(size_bytes)} of checkpoints, adapters and curves are removed for good. "
        "Exported files stay."
    )
    return confirm_loss(parent, "Delete runs", describe_question(rows), loss)


def describe_question(rows: Sequence[RunRow]) -> str:
    """Returns the question with the names of the runs."""
    if len(rows) == 1:
        return f"Delete the run {rows[0].title}?"
    names = [f"- {row.title}" for row in rows[:_NAMED]]
    if len(rows) > _NAMED:
        names.append(f"- and {len(rows) - _NAMED} more")
    return "\n".join([f"Delete {len(rows)} runs?", *names])
