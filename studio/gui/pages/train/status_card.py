"""What a run is doing now: its phase in words, how far it is, how long it still needs."""

from __future__ import annotations

from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from studio.core.runs.record import RunRecord
from studio.core.runs.words import describe_phase, describe_rest
from studio.core.units import UNKNOWN, format_bytes, format_duration, format_loss, format_rate
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import PlainLabel, plain_tooltip

_FULL = 1000
_FACTS = (
    ("step", "Step", "One step: a batch of examples is read, then the adapter changes a little."),
    ("epoch", "Epoch", "How often all training rows have been read."),
    (
        "loss",
        "Training loss",
        "How wrong the newest step's guesses were, lower is better. It jumps from step to step; "
        "the thick curve below is smoothed.",
    ),
    (
        "validation",
        "Best validation",
        "The lowest loss on rows that are not trained on. When it rises again, the model begins "
        "to memorise.",
    ),
    ("speed", "Speed", "Tokens (pieces of words) per second, averaged over the run."),
    ("memory", "Memory (peak)", "The most memory the run has used so far."),
    ("time", "Time", "Time spent in training, without breaks."),
)


class StatusCard(Card):
    """A large status line, a progress bar and the numbers that matter."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self.setAccessibleName("Progress of the run")
        self._phase = PlainLabel("", "title", wraps=False)
        self._detail = PlainLabel("", "muted", wraps=False)
        self._rest = PlainLabel("", "strong", wraps=False)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Progress")
        self._values: dict[str, PlainLabel] = {}
        self._progress = QWidget()
        progress = QVBoxLayout(self._progress)
        progress.setContentsMargins(0, 0, 0, 0)
        progress.setSpacing(SIZES.s)
        top = QHBoxLayout()
        top.setSpacing(SIZES.m)
        top.addWidget(self._phase)
        top.addWidget(self._detail, 1)
        top.addWidget(self._rest)
        self.body.setSpacing(SIZES.s)
        progress.addLayout(top)
        progress.addWidget(self._bar)
        self.body.addWidget(self._progress)
        self.body.addLayout(self._build_facts())

    def show_record(self, record: RunRecord) -> None:
        """Shows the state of a run; after its end only the numbers."""
        self._progress.setVisible(not record.is_over)
        self._phase.setText(describe_phase(record))
        self._detail.setText(_describe_detail(record))
        self._rest.setText(describe_rest(record))
        self._show_progress(record)
        for key, text in _describe_facts(record).items():
            self._values[key].setText(text)

    def _show_progress(self, record: RunRecord) -> None:
        fraction = record.done_fraction
        is_waiting = fraction is None and record.status in ("starting", "running")
        # A range without end makes the bar move while nobody can know how long it takes.
        self._bar.setRange(0, 0 if is_waiting else _FULL)
        if not is_waiting:
            self._bar.setValue(round((fraction or 0.0) * _FULL))

    def _build_facts(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setContentsMargins(0, SIZES.xs, 0, 0)
        grid.setHorizontalSpacing(SIZES.m)
        for column, (key, name, help_text) in enumerate(_FACTS):
            cell = QVBoxLayout()
            cell.setSpacing(0)
            self._values[key] = PlainLabel(UNKNOWN, "strong", wraps=False)
            label = PlainLabel(name, "caption", wraps=False)
            for widget in (label, self._values[key]):
                widget.setToolTip(plain_tooltip(help_text))
                cell.addWidget(widget)
            self._values[key].setAccessibleName(name)
            grid.addLayout(cell, 0, column)
            grid.setColumnStretch(column, 1)
        return grid


def _describe_detail(record: RunRecord) -> str:
    """Returns what the phase is about, else what is safe already: Save now is answered there."""
    if record.is_over or record.phase_detail or record.last_checkpoint_step is None:
        return "" if record.is_over else record.phase_detail
    return f"saved at step {record.last_checkpoint_step:,}"


def _describe_facts(record: RunRecord) -> dict[str, str]:
    step = f"{record.step:,}"
    if record.total_steps:
        step += f" of {record.total_steps:,}"
    best = format_loss(record.best_validation_loss)
    return {
        "step": step,
        "epoch": f"{record.epoch:.2f}" if record.step else UNKNOWN,
        "loss": format_loss(record.last_loss),
        "validation": best,
        "speed": format_rate(record.tokens_per_second, "tokens").replace("tokens/s", "tok/s"),
        "memory": format_bytes(record.peak_memory_bytes),
        "time": format_duration(record.trained_seconds or None),
    }
