"""The buttons that steer a running job."""

from __future__ import annotations

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from studio.core.runs.record import RunRecord
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import plain_tooltip

_PATIENCE_MS = 8_000


class Controls(QWidget):
    """Pause or go on, save now, stop; each is off while it cannot work.

    Signals:
        pause_requested: Wait after the current step.
        continue_requested: Go on after a pause.
        save_requested: Save a checkpoint now and go on.
        stop_requested: Save a checkpoint and end.
        kill_requested: End at once without saving; offered only when stopping takes long.
    """

    pause_requested = Signal()
    continue_requested = Signal()
    save_requested = Signal()
    stop_requested = Signal()
    kill_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_paused = False
        self._is_stopping = False
        self._is_patient = False
        self._was_stopped_here = False
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(_PATIENCE_MS)
        self._patience.timeout.connect(self._on_patience_timeout)
        self._pause = Button("Pause", "pause")
        self._save = Button("Save now", "download")
        self._stop = Button("Stop", "stop", "danger")
        self._pause.setToolTip(plain_tooltip("Wait after the current step; everything stays ready"))
        self._save.setToolTip(plain_tooltip("Save the state after the current step and go on"))
        self._stop.setToolTip(plain_tooltip("Save everything and end; Resume goes on later"))
        self._pause.clicked.connect(self._on_pause_clicked)
        self._save.clicked.connect(self.save_requested)
        self._stop.clicked.connect(self._on_stop_clicked)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SIZES.s)
        for button in (self._pause, self._save, self._stop):
            row.addWidget(button)
        self.show_fresh()

    def show_record(self, record: RunRecord) -> None:
        """Offers what makes sense in the state of the run."""
        if record.is_over and self._is_patient:
            self.show_fresh()
        self.setVisible(not record.is_over)
        is_paused = record.status == "paused"
        if is_paused != self._is_paused:
            self._is_paused = is_paused
            words, icon = ("Continue", "play") if is_paused else ("Pause", "pause")
            self._pause.set_text_and_icon(words, icon)
        is_working = record.status in ("running", "paused") and not self._is_stopping
        self._pause.setEnabled(is_working)
        self._save.setEnabled(is_working)

    def show_fresh(self) -> None:
        """Forgets that another run was asked to stop."""
        self._is_stopping = self._is_patient = self._was_stopped_here = False
        self._patience.stop()
        self._pause.setEnabled(False)
        self._save.setEnabled(False)
        self._stop.setEnabled(True)
        self._stop.set_text_and_icon("Stop", "stop")

    @property
    def has_keyboard(self) -> bool:
        """True while one of the buttons has the focus, or had it when the run was stopped."""
        focus = self.window().focusWidget()
        return self._was_stopped_here or (focus is not None and self.isAncestorOf(focus))

    def show_stopping(self) -> None:
        """Shows that the job was asked to stop; where that takes long, a way to end it at once."""
        self._was_stopped_here = self.has_keyboard
        self._is_stopping = True
        self._pause.setEnabled(False)
        self._save.setEnabled(False)
        if not self._is_patient:
            self._is_patient = True
            self._stop.setEnabled(False)
            self._patience.start()

    def _on_patience_timeout(self) -> None:
        self._stop.set_text_and_icon("Stop without saving", "close")
        self._stop.setEnabled(True)

    def _on_pause_clicked(self) -> None:
        if self._is_paused:
            self.continue_requested.emit()
        else:
            self.pause_requested.emit()

    def _on_stop_clicked(self) -> None:
        if self._is_stopping:
            self.kill_requested.emit()
        else:
            self.stop_requested.emit()
