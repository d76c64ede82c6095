"""Whether the program may use the network."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.core.network.gate import Gate
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card, build_row
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.switch import Switch

_OPEN = (
    "The program only goes online when you search for models or data, or download them. Nothing "
    "about you, your models or your data is ever sent."
)
_CLOSED = (
    "Searching and downloading are off. Everything that is already on this machine works as before."
)


class NetworkCard(Card):
    """The switch that keeps the program offline.

    Signals:
        offline_chosen: Whether the user wants to stay offline.
    """

    offline_chosen = Signal(bool)

    def __init__(self, gate: Gate, parent: QWidget | None = None) -> None:
        super().__init__("Network", parent=parent)
        self._gate = gate
        self._switch = Switch("Stay offline")
        self._words = PlainLabel("", "muted")
        self._switch.toggled.connect(self._on_switch_toggled)
        label = PlainLabel("Stay offline", wraps=False)
        label.setBuddy(self._switch)
        self.body.addLayout(build_row(self._switch, label, spacing=SIZES.m))
        self.body.addWidget(self._words)
        self.show_gate()

    def show_gate(self) -> None:
        """Shows what holds now."""
        self._switch.blockSignals(True)
        self._switch.setChecked(not self._gate.is_open)
        self._switch.blockSignals(False)
        self._switch.setEnabled(not self._gate.is_fixed)
        reason = self._gate.describe() if self._gate.is_fixed else ""
        words = _OPEN if self._gate.is_open else f"{reason} {_CLOSED}".strip()
        self._words.setText(words)

    def _on_switch_toggled(self, is_on: bool) -> None:
        self._gate.keep_offline(is_on)
        self.show_gate()
        self.offline_chosen.emit(is_on)
