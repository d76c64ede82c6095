"""What can be done with the selected runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QPoint, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QMenu, QWidget

from studio.gui.bridge.run_catalog import RunRow
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import PlainLabel, plain_tooltip

_NARROW = 860
_ALL: tuple[tuple[str, str, str], ...] = (
    ("open", "Open", "eye"),
    ("rows", "Rows", "search"),
    ("resume", "Resume", "play"),
    ("continue", "Extend", "train"),
    ("compare", "Compare", "compare"),
    ("export", "Export", "export"),
    ("base", "Base…", "model"),
    ("rename", "Rename", "pencil"),
    ("delete", "Delete", "trash"),
)

_HELP = {
    "rows": "Shows which rows were learnt, forgotten, or look mislabelled.",
    "resume": "Goes on with a run that ended before its plan was done, exactly where it was.",
    "base": "Chooses the folder of the base model that this imported adapter was trained on.",
    "continue": "Starts a new run that begins with this adapter, on data of your choice.",
}


class RunActions(QWidget):
    """One button per action, on only where the action makes sense.

    Signals:
        requested: The key of an action: open, rows, resume, continue, compare, export, base,
            rename or delete.
    """

    requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_narrow = False
        self._buttons: dict[str, Button] = {}
        self._count = PlainLabel("", "caption", wraps=False)
        row = FlowRow(self, SIZES.xs)
        for key, words, icon in _ALL:
            button = Button(words, icon, "danger" if key == "delete" else "normal")
            button.clicked.connect(lambda _=False, key=key: self.requested.emit(key))
            if key in _HELP:
                button.setToolTip(plain_tooltip(_HELP[key]))
            self._buttons[key] = button
            row.addWidget(button)
        row.addWidget(self._count)
        self.show_selection(())

    def show_selection(self, rows: Sequence[RunRow]) -> None:
        """Turns buttons on and off for the selected runs."""
        for key, is_possible in _judge(rows).items():
            self._buttons[key].setEnabled(is_possible)
        self._buttons["base"].setVisible(self._buttons["base"].isEnabled())
        self._count.setText(f"{len(rows)} selected" if len(rows) > 1 else "")

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Leaves the icons out where all buttons in one line have no room for them."""
        super().resizeEvent(event)
        is_narrow = event.size().width() < _NARROW
        if is_narrow != self._is_narrow:
            self._is_narrow = is_narrow
            for key, words, icon in _ALL:
                self._buttons[key].set_text_and_icon(words, "" if is_narrow else icon)

    def show_menu(self, point: QPoint) -> None:
        """Shows the same actions as a menu at a point of the screen."""
        menu = QMenu(self)
        for key, words, _ in _ALL:
            if self._buttons[key].isEnabled():
                menu.addAction(words, self._make_request(key))
        if not menu.isEmpty():
            menu.popup(point)

    def _make_request(self, key: str) -> Callable[[], None]:
        return lambda: self.requested.emit(key)


def _judge(rows: Sequence[RunRow]) -> dict[str, bool]:
    is_one = len(rows) == 1
    has_adapters = bool(rows) and all(row.adapter is not None for row in rows)
    return {
        "open": is_one,
        "rows": is_one and not rows[0].record.is_imported,
        "resume": is_one and rows[0].record.is_resumable,
        "continue": is_one and has_adapters and not rows[0].record.is_active,
        "compare": has_adapters,
        "export": is_one and has_adapters,
        "base": is_one and rows[0].record.is_imported,
        "rename": is_one,
        "delete": bool(rows) and not any(row.record.is_active for row in rows),
    }
