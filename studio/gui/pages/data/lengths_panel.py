"""How long the rows are, where they are cut, and what each limit would cost."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.events.types import LimitsMeasured
from studio.core.units import format_duration
from studio.gui.bridge.epoch_clock import EpochTime
from studio.gui.forms.editors.numbers import build_counter
from studio.gui.plots.length_plot import LengthPlot
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.labels import PlainLabel

_MOST_TOKENS = 10_000_000
_LEAST_SHARE = 0.005
FindTime = Callable[[LimitsMeasured, int], EpochTime | None]


def _find_no_time(found: LimitsMeasured, limit: int) -> None:
    del found, limit


class LengthsPanel(QWidget):
    """The histogram with the limit as a line; passive.

    Signals:
        limit_chosen: ``auto`` or a number of tokens.
    """

    limit_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._found: LimitsMeasured | None = None
        self._find_time: FindTime = _find_no_time
        self._plot = LengthPlot()
        self._plot.limit_moved.connect(self._on_limit_moved)
        self._plot.limit_chosen.connect(self._on_limit_let_go)
        self._box = build_counter("Longest example", 150)
        self._box.setSuffix(" tokens")
        self._box.valueChanged.connect(self.limit_chosen.emit)
        self._auto = QCheckBox("Automatic")
        self._auto.toggled.connect(self._on_auto_toggled)
        self._cost = PlainLabel("", "strong")
        self._time = PlainLabel("", "body")
        self._more = PlainLabel("", "muted")
        line = QHBoxLayout()
        line.setSpacing(SIZES.s)
        line.addWidget(PlainLabel("Longest example", wraps=False))
        line.addWidget(self._box)
        line.addWidget(self._auto)
        line.addStretch(1)
        self._state = PlainLabel("Drag the red line, or type a number.", "caption", wraps=False)
        line.addWidget(self._state)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, SIZES.m, 0, 0)
        box.setSpacing(SIZES.s)
        box.addLayout(line)
        box.addWidget(self._plot, 1)
        box.addWidget(self._cost)
        box.addWidget(self._time)
        box.addWidget(self._more)
        self._cost.setAlignment(Qt.AlignmentFlag.AlignTop)

    def show_limits(self, found: LimitsMeasured, wanted: object) -> None:
        """Shows the lengths, the limit in force, and whether the program chose it."""
        self._found = found
        self._plot.show_lengths(found.edges, found.rows, found.max_tokens)
        is_auto = not isinstance(wanted, int)
        with QSignalBlocker(self._box), QSignalBlocker(self._auto):
            self._auto.setChecked(is_auto)
            self._auto.setText(describe_auto(found))
            self._box.setMaximum(found.context_tokens or _MOST_TOKENS)
            self._box.setValue(found.max_tokens)
        self._box.setEnabled(not is_auto)
        self._explain(found.max_tokens)

    def show_times(self, find_time: FindTime) -> None:
        """Shows times as ``find_time`` tells them for a limit."""
        self._find_time = find_time
        if self._found is not None:
            self._explain(self._box.value())

    def _explain(self, limit: int) -> None:
        found = self._found
        if found is None:
            return
        first, second = describe_cost(found, limit)
        self._cost.setText(first)
        whole = found.longest_tokens
        if found.context_tokens is not None:
            whole = min(whole, found.context_tokens)
        times = (self._find_time(found, limit), self._find_time(found, max(1, whole)))
        told = describe_times(found, limit, *times)
        self._time.setText(told)
        self._time.setVisible(bool(told))
        self._more.setText(second)

    def _on_limit_moved(self, limit: int) -> None:
        with QSignalBlocker(self._box):
            self._box.setValue(limit)
        self._explain(limit)

    def _on_limit_let_go(self, limit: int) -> None:
        context = None if self._found is None else self._found.context_tokens
        limit = limit if context is None else min(limit, context)
        self._on_limit_moved(limit)
        with QSignalBlocker(self._auto):
            self._auto.setChecked(False)
        self._box.setEnabled(True)
        self.limit_chosen.emit(limit)

    def _on_auto_toggled(self, is_auto: bool) -> None:
        self._box.setEnabled(not is_auto)
        self.limit_chosen.emit("auto" if is_auto else self._box.value())


def describe_auto(found: LimitsMeasured) -> str:
    """Return which limit the program would choose, and why."""
    is_capped = found.auto_tokens == found.context_tokens
    limits = found.limits or (1,)
    cut = interpolate(limits, found.cut_rows_fraction or (0.0,), found.auto_tokens)
    why = "the model's limit" if is_capped and cut > 0.01 else "99 % of rows fit"
    return f"Automatic: {found.auto_tokens:,} ({why})"


def describe_cost(found: LimitsMeasured, limit: int) -> tuple[str, str]:
    """Return what a limit cuts away, and what it saves and how the data lies beside it."""
    if not found.limits:
        return "No row to measure.", ""
    cut = interpolate(found.limits, found.cut_rows_fraction, limit)
    lost_rows = interpolate(found.limits, found.lost_rows_fraction, limit)
    lost = interpolate(found.limits, found.lost_supervised_fraction, limit)
    kept = interpolate(found.limits, found.kept_tokens_fraction, limit)
    if cut <= 0 and lost_rows <= 0 and limit < found.longest_tokens:
        first = (
            f"With {limit:,} tokens nothing is lost: longer texts are divided into several "
            "examples."
        )
    elif cut <= 0 and lost_rows <= 0:
        first = f"With {limit:,} tokens every row stays whole."
    else:
        first = f"With {limit:,} tokens {_percent(cut)} of the rows are longer and lose their start"
        first += (
            f"; {_percent(lost)} of what would be learnt is lost."
            if lost > 0
            else "; no answer is touched."
        )
        if lost_rows > 0:
            first += f" {_percent(lost_rows)} of the rows are left out: their answer is too long."
    saved = (
        f"An epoch reads {_percent(1 - kept)} fewer tokens than without a limit. "
        if kept < 1
        else ""
    )
    longest = f"The longest row has {found.longest_tokens:,} tokens"
    if found.hidden_rows:
        longest += f" ({found.hidden_rows:,} rows are too long for the picture)"
    context = found.context_tokens
    reads = f"; the model reads {context:,} at most." if context is not None else "."
    return first, saved + longest + reads


def describe_times(
    found: LimitsMeasured, limit: int, time: EpochTime | None, whole: EpochTime | None
) -> str:
    """Return how long an epoch takes with a limit, and what that saves; empty where unknown.

    ``whole`` is the time with every row as whole as the model can read it.
    """
    if time is None or whole is None:
        return ""
    now, saved = format_duration(time.seconds), whole.seconds - time.seconds
    if limit < found.longest_tokens and saved > _LEAST_SHARE * whole.seconds:
        is_cut = interpolate(found.limits, found.cut_rows_fraction, limit) > 0
        words = (
            f"{'Cutting' if is_cut else 'Dividing'} at {limit:,} saves about "
            f"{format_duration(saved)} per epoch: "
            f"{now} instead of {format_duration(whole.seconds)}."
        )
    else:
        words = f"An epoch takes about {now}."
    guess = " This is a rough guess; Measure on the Recipe page makes it exact."
    return words + (guess if time.is_guess else "")


def interpolate(limits: Sequence[int], values: Sequence[float], limit: int) -> float:
    """Return the value at a limit between two that were measured."""
    right = bisect_left(limits, limit)
    if right >= len(limits):
        return values[-1]
    if right == 0 or limits[right] == limit:
        return values[right]
    share = (limit - limits[right - 1]) / (limits[right] - limits[right - 1])
    return values[right - 1] + share * (values[right] - values[right - 1])


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 0.1:
        return "less than 0.1 %"
    return f"{percent:.1f} %" if percent < 10 else f"{percent:.0f} %"
