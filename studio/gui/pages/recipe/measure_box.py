"""The Measure button: a dry run's progress, its result beside the forecast, and how to end it."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.units import format_bytes, format_rate
from studio.gui.bridge.dry_run import Measured
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import PlainLabel, allow_breaks, plain_tooltip

_EXPLANATION = (
    "Loads the model and does two training steps on your longest examples, then throws them away. "
    "Takes about as long as starting a training. What it finds corrects this and later forecasts "
    "for this kind of model on this computer."
)


class MeasureBox(QWidget):
    """Starts and ends dry runs; passive.

    Signals:
        start_requested: Measure the recipe as it stands.
        stop_requested: End the dry run.
    """

    start_requested = Signal()
    stop_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._start = Button("&Measure it", "play")
        self._start.setToolTip(plain_tooltip(_EXPLANATION))
        self._start.setAccessibleDescription(_EXPLANATION)
        self._start.clicked.connect(self.start_requested)
        self._stop = Button("Cancel", "stop", "quiet")
        self._stop.setAccessibleName("Cancel the measurement")
        self._stop.clicked.connect(self.stop_requested)
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Measuring")
        self._words = PlainLabel("", "caption")
        buttons = QHBoxLayout()
        buttons.setSpacing(SIZES.s)
        buttons.addWidget(self._start)
        buttons.addWidget(self._stop)
        buttons.addStretch(1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.s)
        box.addLayout(buttons)
        box.addWidget(self._bar)
        box.addWidget(self._words)
        self.show_idle()

    def show_possible(self, is_possible: bool) -> None:
        """Allows to measure only a complete recipe."""
        self._start.setEnabled(is_possible)

    def show_idle(self) -> None:
        """Shows the button alone."""
        self._show(is_running=False, words="")

    def show_progress(self, words: str) -> None:
        """Shows what the dry run does now."""
        self._show(is_running=True, words=f"{words} …")

    def show_result(self, measured: Measured) -> None:
        """Shows the measured peak beside the forecast."""
        self._show(is_running=False, words=describe_result(measured))
        self._words.set_role("success")

    def show_error(self, error: StudioError) -> None:
        """Shows why nothing was measured."""
        self._show(is_running=False, words=allow_breaks(f"{error.message} {error.remedy}".strip()))
        self._words.set_role("error")

    def _show(self, *, is_running: bool, words: str) -> None:
        had_focus = self._start.hasFocus() or self._stop.hasFocus()
        self._start.setVisible(not is_running)
        self._stop.setVisible(is_running)
        self._bar.setVisible(is_running)
        self._words.setText(words)
        self._words.setVisible(bool(words))
        self._words.set_role("caption")
        if had_focus:
            button = self._stop if is_running else self._start
            button.setFocus(Qt.FocusReason.OtherFocusReason)


def describe_result(measured: Measured) -> str:
    """Return measured peak, forecast and speed in one or two sentences."""
    result = measured.result
    speed = format_rate(result.tokens / result.seconds, "tokens") if result.seconds else ""
    percent = round(abs(measured.error) * 100)
    how = "more" if measured.error > 0 else "less"
    forecast = f"the forecast said {percent} % {how}" if percent else "as the forecast said"
    return f"Measured: {format_bytes(result.peak_bytes)} at most ({forecast}), {speed}."
