"""What to change so that the draft fits, the cheapest first, each with a button that does it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.core.memory.fit import Advice, describe_slowdown
from studio.core.memory.forecast import Forecast
from studio.core.recipe.fields import get_field_table
from studio.core.units import format_bytes
from studio.gui.forms.editors.lists import RowsBox
from studio.gui.forms.words import format_value
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.fold import Fold
from studio.gui.widgets.labels import PlainLabel, plain_tooltip


class AdviceCard(Card):
    """Changes that save memory; hidden while the recipe fits. Passive.

    Signals:
        changes_chosen: New values by dotted path, as a mapping.
    """

    changes_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("How to make it fit", parent=parent)
        self._words = PlainLabel("", "muted")
        self._all = Button("Change all of these", "check")
        self._all.clicked.connect(self._on_all_clicked)
        self._needed = RowsBox()
        self._needed.setSpacing(SIZES.m)
        self._others = RowsBox()
        self._others.setSpacing(SIZES.m)
        self._fold = Fold("Other ways", "to save memory")
        self._fold.body.addLayout(self._others)
        self._advice: Sequence[Advice] = ()
        self.body.addWidget(self._words)
        self.body.addLayout(self._needed)
        self.body.addWidget(self._all)
        self.body.addWidget(self._fold)
        self.hide()

    def show_forecast(self, forecast: Forecast) -> None:
        """Hides the card where nothing is to be changed; advice itself comes later."""
        if forecast.fits:
            self._advice = ()
            self.hide()

    def show_advice(self, forecast: Forecast) -> None:
        """Shows what can be changed."""
        self._advice = forecast.advice
        needed = [item for item in forecast.advice if item.is_needed]
        others = [item for item in forecast.advice if not item.is_needed]
        self._words.setText(describe_advice(forecast))
        self._all.setVisible(len(needed) > 1 and all(item.is_available for item in needed))
        self._fill(self._needed, needed)
        self._fill(self._others, others)
        self._fold.setVisible(bool(others))
        if not needed:
            self._fold.show_open(True)
        self.setVisible(not forecast.fits)

    def _fill(self, box: RowsBox, advice: Sequence[Advice]) -> None:
        box.clear()
        for item in advice:
            row = _AdviceRow(item)
            row.chosen.connect(partial(self.changes_chosen.emit, dict(item.changes)))
            box.addWidget(row)

    def _on_all_clicked(self) -> None:
        changes = [c for item in self._advice if item.is_needed for c in item.changes]
        self.changes_chosen.emit(dict(changes))


class _AdviceRow(QWidget):
    """One change with its gain, its price and its button."""

    chosen = Signal()

    def __init__(self, advice: Advice) -> None:
        super().__init__()
        button = Button("Change")
        button.setProperty("compact", True)
        button.setAccessibleName(f"Change: {advice.label}")
        button.setEnabled(advice.is_available)
        button.clicked.connect(self.chosen)
        top = QHBoxLayout()
        top.setSpacing(SIZES.s)
        top.addWidget(PlainLabel(advice.label, "strong"), 1)
        top.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(1)
        box.addLayout(top)
        box.addWidget(PlainLabel(describe_changes(advice), "body"))
        box.addWidget(PlainLabel(describe_price(advice), "caption"))
        self.setToolTip(plain_tooltip(advice.reason))


def describe_advice(forecast: Forecast) -> str:
    """Return what the advice comes to, in one sentence."""
    needed = [item for item in forecast.advice if item.is_needed]
    if needed:
        words = "This change makes" if len(needed) == 1 else "Together these changes make"
        return f"{words} it fit: {format_bytes(forecast.advised_bytes)}."
    if forecast.ledger.bytes_by_part["overhead"] >= forecast.budget_bytes:
        return "That is less than the program itself needs, whatever the recipe says."
    return "No set of changes makes it fit. Choose a smaller base model."


def describe_price(advice: Advice) -> str:
    """Return what a change saves and what it costs."""
    later = "" if advice.is_available else "; comes with a later version"
    saved = format_bytes(advice.saved_bytes) if advice.saved_bytes > 0 else "nothing alone"
    return f"saves {saved}, {describe_slowdown(advice.slowdown)}{later}"


def describe_changes(advice: Advice) -> str:
    """Return the new values under the names of the form."""
    table = get_field_table()
    return ", ".join(f"{table[key].label}: {format_value(value)}" for key, value in advice.changes)
