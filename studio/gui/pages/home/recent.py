"""The newest runs, one line each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.runs.record import RunRecord
from studio.core.units import format_duration, format_loss
from studio.gui.forms.editors.lists import RowsBox
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.icon import Icon
from studio.gui.widgets.labels import ElidedLabel, PlainLabel
from studio.gui.widgets.run_chip import RunChip

_SHOWN = 5
_PRESSES = (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter)


class RecentRuns(Card):
    """A short list of runs with their state.

    Signals:
        run_selected: The folder of the run to open.
        all_requested: The user wants the whole history.
    """

    run_selected = Signal(str)
    all_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Recent runs", parent=parent)
        everything = Button("All runs", "arrow-right", "quiet", icon_after=True)
        everything.clicked.connect(self.all_requested)
        self.top.addWidget(everything)
        self._rows = RowsBox()
        self._none = PlainLabel(
            "No runs yet. The first one appears here as soon as it starts.", "muted"
        )
        self.body.addWidget(self._none)
        self.body.addLayout(self._rows)

    def show_records(self, records: Sequence[RunRecord]) -> None:
        """Shows the newest of these runs; they come newest first."""
        self._rows.clear()
        self._none.setVisible(not records)
        for record in records[:_SHOWN]:
            row = RunRow(record)
            row.pressed.connect(partial(self.run_selected.emit, str(record.folder)))
            self._rows.addWidget(row)


class RunRow(QFrame):
    """One run; a click, space or return opens it.

    Signals:
        pressed: The user wants to open the run.
    """

    pressed = Signal()

    def __init__(self, record: RunRecord, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "row")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        chip = RunChip()
        names = QVBoxLayout()
        names.setSpacing(0)
        names.addWidget(ElidedLabel(record.name, "strong"))
        names.addWidget(PlainLabel(describe_age(record.created_seconds, time.time()), "caption"))
        line = QHBoxLayout(self)
        line.setContentsMargins(SIZES.s, SIZES.s, SIZES.s, SIZES.s)
        line.setSpacing(SIZES.m)
        line.addWidget(Icon("runs", "muted", 20))
        line.addLayout(names, 1)
        line.addWidget(PlainLabel(describe_result(record), "muted", wraps=False))
        line.addWidget(chip)
        line.addWidget(Icon("chevron-right", "faint", 16))
        chip.show_status(record.status)
        self.setAccessibleName(f"Run {record.name}, {chip.text()}, {describe_result(record)}")

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Opens the run."""
        super().mouseReleaseEvent(event)
        is_left = event.button() == Qt.MouseButton.LeftButton
        if is_left and self.rect().contains(event.position().toPoint()):
            self.pressed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Opens the run by keyboard."""
        if event.key() in _PRESSES:
            self.pressed.emit()
        else:
            super().keyPressEvent(event)


def describe_age(created_seconds: float, now_seconds: float) -> str:
    """Return how long ago a run was made, in words."""
    age = now_seconds - created_seconds
    if age < 90:
        return "just now"
    return f"{format_duration(age).split(' ')[0]} {_get_unit(age)} ago"


def describe_result(record: RunRecord) -> str:
    """Return the loss at the start and now, where it is known."""
    if record.first_loss is None or record.last_loss is None:
        return ""
    return f"loss {format_loss(record.first_loss)} to {format_loss(record.last_loss)}"


def _get_unit(seconds: float) -> str:
    if seconds < 3600:
        return "min"
    return "h" if seconds < 86_400 else "days"
