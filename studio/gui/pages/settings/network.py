"""Whether the program may use the network."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QWidget

from studio.core.network.gate import Gate
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card, Line, build_row
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.switch import Switch

_OPEN = (
    "The program only goes online when you search for models or data, download them, or publish an "
    "export yourself. Nothing else about you, your models or your data is ever sent."
)
_WHAT_FOR = (
    "Only needed for models whose owners ask for it. Make one (kind: read) on "
    "huggingface.co/settings/tokens. It is kept where the hub's own programs keep it, readable by "
    "you alone."
)
_FIELD_WIDTH = 360
_CLOSED = (
    "Searching and downloading are off. Everything that is already on this machine works as before."
)


class NetworkCard(Card):
    """The switch that keeps the program offline.

    Signals:
        offline_chosen: Whether the user wants to stay offline.
        token_entered: An access token of the hub, to be saved.
    """

    offline_chosen = Signal(bool)
    token_entered = Signal(str)

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
        self._token = QLineEdit()
        self._token.setEchoMode(QLineEdit.EchoMode.Password)
        self._token.setPlaceholderText("hf_…")
        self._token.setAccessibleName("Access token of the hub")
        self._token.setFixedWidth(_FIELD_WIDTH)
        self._token.returnPressed.connect(self._on_save_clicked)
        save = Button("&Save token", "lock")
        save.clicked.connect(self._on_save_clicked)
        self._token_words = PlainLabel(_WHAT_FOR, "caption")
        self.body.addWidget(Line())
        self.body.addWidget(PlainLabel("Access token of Hugging Face", wraps=False))
        self.body.addLayout(build_row(self._token, save))
        self.body.addWidget(self._token_words)
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

    def show_token_state(self, *, is_saved: bool) -> None:
        """Says whether a token is saved; the token itself is never shown."""
        self._token.clear()
        self._token_words.setText(f"A token is saved. {_WHAT_FOR}" if is_saved else _WHAT_FOR)

    def _on_save_clicked(self) -> None:
        text = self._token.text().strip()
        if text:
            self.token_entered.emit(text)

    def _on_switch_toggled(self, is_on: bool) -> None:
        self._gate.keep_offline(is_on)
        self.show_gate()
        self.offline_chosen.emit(is_on)
