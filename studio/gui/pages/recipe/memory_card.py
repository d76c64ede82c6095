"""How much memory and time the draft needs, part by part, against a card of the user's choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.memory.card import CARD_SIZES, DeviceSpec
from studio.core.memory.forecast import Forecast, Verdict
from studio.core.memory.ledger import Part, PartKey
from studio.core.memory.recomputing import Recomputing
from studio.core.units import UNKNOWN, format_bytes, format_count, format_duration
from studio.gui.forms.editors.base import WheelGuard
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card, Line
from studio.gui.widgets.icon import Icon, Tone
from studio.gui.widgets.labels import PlainLabel, allow_breaks, plain_tooltip
from studio.gui.widgets.stacked_bar import Segment, StackedBar, Swatch

_COLOURS: Mapping[PartKey, tuple[int, int]] = {
    "base": (0, 0),
    "adapter": (2, 0),
    "gradients": (2, 1),
    "optimizer": (2, 2),
    "activations": (1, 0),
    "loss": (3, 0),
    "backward": (4, 0),
    "quantisation": (5, 0),
    "copies": (2, 3),
    "overhead": (-1, 0),
}
_VERDICTS: Mapping[Verdict, tuple[str, Tone, str]] = {
    "fits": ("success", "success", "It fits"),
    "tight": ("warning", "warning", "Tight: it may not fit"),
    "too_large": ("error", "error", "It does not fit"),
}


class MemoryCard(Card):
    """The stacked bar, its legend and the time; passive.

    Signals:
        budget_chosen: The GiB of a card to plan for, 0 for this computer.
    """

    budget_chosen = Signal(int)

    def __init__(self, measure: QWidget, parent: QWidget | None = None) -> None:
        super().__init__("Memory and time", parent=parent)
        self._measure = measure
        self._budget = _build_budget_box()
        self._budget.activated.connect(
            lambda _index: self.budget_chosen.emit(self._budget.currentData())
        )
        self._icon = Icon("note", "muted")
        self._verdict = PlainLabel("", "strong")
        self._needed = PlainLabel("", "muted")
        self._bar = StackedBar()
        self._legend = _Legend()
        self._epoch = PlainLabel(UNKNOWN, "strong", wraps=False)
        self._whole = PlainLabel(UNKNOWN, "strong", wraps=False)
        self._whole_words = PlainLabel("whole run", "muted", wraps=False)
        self._automatic = PlainLabel("", "caption")
        self._hint = PlainLabel("", "caption")
        self._build_layout()
        self.show_unknown("")

    def show_computer(self, device: DeviceSpec) -> None:
        """Names this computer's own memory in the list of cards."""
        kind = "This computer" if device.is_cpu else "My card"
        with QSignalBlocker(self._budget):
            self._budget.setItemText(0, f"{kind}: {format_bytes(device.free_bytes)}")
        self._budget.setItemData(0, device.name, Qt.ItemDataRole.ToolTipRole)

    def show_budget(self, gib: int) -> None:
        """Marks the card that is planned for, 0 for this computer."""
        with QSignalBlocker(self._budget):
            self._budget.setCurrentIndex(max(0, self._budget.findData(gib)))

    def show_forecast(self, forecast: Forecast) -> None:
        """Shows what a recipe needs."""
        icon, tone, words = _VERDICTS[forecast.verdict]
        self._icon.show_icon(icon, tone)
        self._verdict.setText(words)
        total, free = format_bytes(forecast.ledger.total_bytes), format_bytes(forecast.budget_bytes)
        place = "memory" if forecast.device.is_cpu else "graphics memory"
        self._needed.setText(f"Needs {total} of {free} free {place}{describe_computer(forecast)}")
        self._needed.setToolTip(plain_tooltip(f"{forecast.device.name}: {free} are free"))
        segments = [build_segment(part) for part in forecast.ledger.parts]
        self._bar.show_segments(segments, forecast.budget_bytes)
        self._bar.setAccessibleName(f"{words}: needs {total} of {free}")
        spoken = ", ".join(f"{s.label} {format_bytes(s.size)}" for s in segments if s.size)
        self._bar.setAccessibleDescription(spoken)
        self._legend.show_segments(segments)
        self._show_time(forecast)
        _show(self._automatic, describe_automatic(forecast))
        _show(self._hint, describe_certainty(forecast))
        self._bar.show()
        self._legend.show()

    def show_unknown(self, reason: str) -> None:
        """Shows why nothing can be said yet."""
        self._icon.show_icon("note", "muted")
        self._verdict.setText("Not known yet")
        self._needed.setText(allow_breaks(reason))
        self._needed.setToolTip("")
        self._bar.hide()
        self._legend.hide()
        self._epoch.setText(UNKNOWN)
        self._whole.setText(UNKNOWN)
        _show(self._automatic, "")
        _show(self._hint, "")

    def _show_time(self, forecast: Forecast) -> None:
        time = forecast.time
        about = "~ " if time.is_guess else ""
        self._epoch.setText(about + format_duration(time.seconds_per_epoch))
        self._whole.setText(about + format_duration(time.seconds))
        for label in (self._epoch, self._whole):
            label.setToolTip(plain_tooltip(describe_speed(forecast)))
        steps = "step" if time.steps == 1 else "steps"
        self._whole_words.setText(f"{time.steps:,} {steps} in all")

    def _build_layout(self) -> None:
        self.body.addWidget(self._budget)
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(self._verdict)
        words.addWidget(self._needed)
        head = QHBoxLayout()
        head.setSpacing(SIZES.s)
        head.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        head.addLayout(words, 1)
        self.body.addLayout(head)
        self.body.addWidget(self._bar)
        self.body.addWidget(self._legend)
        self.body.addWidget(Line())
        grid = QGridLayout()
        grid.setVerticalSpacing(SIZES.xs)
        epoch = PlainLabel("One epoch", "muted", wraps=False)
        epoch.setToolTip(plain_tooltip("One pass over all training data."))
        rows = ((epoch, self._epoch), (self._whole_words, self._whole))  # fmt: skip
        for row, (label, value) in enumerate(rows):
            grid.addWidget(label, row, 0)
            grid.addWidget(value, row, 1, Qt.AlignmentFlag.AlignRight)
        self.body.addLayout(grid)
        notes = QVBoxLayout()
        notes.setSpacing(SIZES.xs)
        notes.addWidget(self._automatic)
        notes.addWidget(self._hint)
        self.body.addLayout(notes)
        self.body.addWidget(self._measure)


class _Legend(QWidget):
    """The parts by name, each with its colour and its size."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(3)
        self._rows: list[_LegendRow] = []

    def show_segments(self, segments: Sequence[Segment]) -> None:
        """Shows the parts that are there."""
        while len(self._rows) < len(segments):
            row = _LegendRow()
            self._rows.append(row)
            self._box.addWidget(row)
        for row, segment in zip(self._rows, segments, strict=False):
            row.show_segment(segment)


class _LegendRow(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self._swatch = Swatch()
        self._label = PlainLabel("", "muted", wraps=False)
        self._size = PlainLabel("", "body", wraps=False)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(SIZES.s)
        line.addWidget(self._swatch)
        line.addWidget(self._label, 1)
        line.addWidget(self._size)

    def show_segment(self, segment: Segment) -> None:
        """Shows one part; nothing of it hides the row."""
        self._swatch.show_segment(segment)
        self._label.setText(segment.label)
        self._size.setText(format_bytes(segment.size))
        self.setToolTip(plain_tooltip(segment.tooltip))
        self.setVisible(segment.size > 0)


def build_segment(part: Part) -> Segment:
    """Return a part of the forecast as a part of the bar."""
    colour, fade = _COLOURS[part.key]
    tooltip = (
        f"{part.label}: {format_bytes(part.size_bytes)} ({part.size_bytes:,} bytes)\n{part.help}"
    )
    return Segment(part.label, part.size_bytes, tooltip, colour, fade)


def describe_automatic(forecast: Forecast) -> str:
    """Return what the automatic settings become, in one sentence; empty where there is none."""
    recipe, settled = forecast.question.recipe, forecast.ledger.settled
    parts = []
    if recipe.base.offload == "auto" and settled.visits:
        parts.append("the base stays in the computer's memory, which is slow")
    if recipe.train.checkpointing == "auto":
        parts.append(describe_recomputing(settled.recomputing))
    if recipe.train.micro_batch_tokens == "auto":
        parts.append(f"{settled.micro_batch_tokens:,} tokens at once")
    if recipe.base.dtype == "auto":
        parts.append(f"{8 * settled.number_bytes}-bit numbers")
    return f"Automatic: {', '.join(parts)}." if parts else ""


def describe_computer(forecast: Forecast) -> str:
    """Return what visits the card takes elsewhere; empty where nothing does."""
    size, free = forecast.ledger.computer_bytes, forecast.device.computer_bytes
    if not size:
        return ""
    of = "" if free is None else f" of {format_bytes(free)} free"
    return f" and {format_bytes(size)}{of} computer memory"


def describe_recomputing(recomputing: Recomputing) -> str:
    """Return what the layers recompute, for people."""
    if recomputing.strongest == "none":
        return "nothing is recomputed"
    if recomputing.is_uniform:
        is_whole = recomputing.strongest == "all"
        return "all layers are recomputed" if is_whole else "the inner part of all is recomputed"
    parts = [("all", recomputing.all), ("the inner part", recomputing.mlp)]
    words = " and ".join(f"{what} of {count}" for what, count in parts if count)
    return f"{words} of {recomputing.layers} layers is recomputed"


def describe_certainty(forecast: Forecast) -> str:
    """Return what the forecast rests on, in one or two sentences."""
    tokens = f"{forecast.ledger.settled.max_tokens:,}"
    if forecast.rows.is_assumed:
        rows = f"The data could not be read yet: every example is taken to have {tokens} tokens."
    elif forecast.rows.is_guess:
        rows = f"The longest example is taken to have about {tokens} tokens."
    else:
        rows = ""
    if forecast.ledger.is_measured:
        return f"Corrected by a measurement on this computer. {rows}".strip()
    speed = f"about {max(1, round(forecast.time.tokens_per_second)):,} tokens a second"
    return f"{rows} Memory and speed ({speed}) are calculated, not measured.".strip()


def describe_speed(forecast: Forecast) -> str:
    """Return what the times rest on."""
    time = forecast.time
    rate = f"About {max(1, round(time.tokens_per_second)):,} tokens a second"
    how = "as measured"
    if time.is_guess:
        flops = format_count(round(time.flops_per_second))
        how = f"where {flops} operations a second are done, which is a cautious guess"
    return f"{rate}, {how}. Loading and validation come on top."


def _show(label: PlainLabel, text: str) -> None:
    label.setText(text)
    label.setVisible(bool(text))


def _build_budget_box() -> QComboBox:
    box = QComboBox()
    box.setAccessibleName("The memory to plan for")
    box.setToolTip(plain_tooltip("Plan for this computer, or for another card."))
    box.installEventFilter(WheelGuard(box))
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    box.addItem("This computer", 0)
    for gib in CARD_SIZES:
        box.addItem(f"A card with {gib} GB", gib)
    return box
