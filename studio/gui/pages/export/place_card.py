"""Where the files go, how much space there is, how far they are, and the Export button."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from studio.core.units import format_bytes
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import ElidedLabel, PlainLabel, plain_tooltip

_FULL = 1000
_HELP = "Writes the files, loads them again and compares what they answer."


class PlaceCard(Card):
    """The target folder with its drive's free space; progress while files are written.

    ``export`` and ``stop`` are buttons for the head of the page, where they are always in sight.

    Signals:
        folder_requested: The user wants another place.
        export_requested: Write the files now.
        stop_requested: End the export; nothing half written stays.
    """

    folder_requested = Signal()
    export_requested = Signal()
    stop_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("3. Place", parent=parent)
        self._target = ElidedLabel("", "strong")
        self._space = PlainLabel("", "caption", wraps=False)
        self._change = change = Button("Change…", "folder")
        change.clicked.connect(self.folder_requested)
        self.export = Button("&Export", "export", "primary")
        self.export.clicked.connect(self.export_requested)
        self.stop = Button("Stop", "stop")
        self.stop.clicked.connect(self.stop_requested)
        self._words = PlainLabel("", "muted")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Progress of the export")
        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addWidget(self._target)
        texts.addWidget(self._space)
        top = QHBoxLayout()
        top.setSpacing(SIZES.s)
        top.addLayout(texts, 1)
        top.addWidget(change, 0, Qt.AlignmentFlag.AlignTop)
        self.body.addLayout(top)
        self.body.addWidget(self._bar)
        self.body.addWidget(self._words)
        self.show_idle("")

    def show_place(self, target: str, free_bytes: int | None, needed_bytes: int | None) -> None:
        """Shows the folder that will be made, the space there is and the space it takes."""
        self._target.setText(target or "No folder chosen yet")
        parts = []
        if needed_bytes is not None:
            parts.append(f"about {format_bytes(needed_bytes)} needed")
        if free_bytes is not None:
            parts.append(f"{format_bytes(free_bytes)} free on this drive")
        self._space.setText(", ".join(parts))
        self._space.setVisible(bool(parts))

    def show_idle(self, reason: str) -> None:
        """Offers Export, or says why it cannot work yet."""
        self._change.setEnabled(True)
        self.export.setEnabled(not reason)
        self.export.setToolTip(plain_tooltip(reason or _HELP))
        _exchange(self.stop, self.export)
        self._bar.hide()
        self.show_words(reason)

    def show_words(self, words: str) -> None:
        """Shows below the place why nothing is written; empty: nothing."""
        self._words.setText(words)
        self._words.setVisible(bool(words))

    def show_progress(self, words: str, done_bytes: int, total_bytes: int) -> None:
        """Shows what is being written and how far it is."""
        self._change.setEnabled(False)
        _exchange(self.export, self.stop)
        self._words.show()
        self._bar.show()
        self._bar.setRange(0, _FULL if total_bytes else 0)
        if total_bytes:
            self._bar.setValue(round(done_bytes / total_bytes * _FULL))
            words = f"{words}: {format_bytes(done_bytes)} of {format_bytes(total_bytes)}"
        self._words.setText(words)


def _exchange(gone: Button, shown: Button) -> None:
    """Shows one button in place of another, which hands the keyboard on."""
    had_focus = gone.hasFocus()
    shown.show()
    if had_focus:
        shown.setFocus(Qt.FocusReason.OtherFocusReason)
    gone.hide()
