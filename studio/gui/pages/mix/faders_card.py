"""One fader per adapter, and faders for groups of its layers."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.core.jobs.orders import BlendPart
from studio.core.weights.gains import GainPart, LayerGain, divide_layers
from studio.gui.pages.mix.fader import Fader
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card
from studio.gui.widgets.fold import Fold
from studio.gui.widgets.labels import PlainLabel

_GROUPS = {
    "early": ("Early layers", "Closest to the input: spelling, word forms, simple patterns."),
    "middle": ("Middle layers", "Often where facts and meaning are brought together."),
    "late": ("Late layers", "Closest to the output: style, tone and the choice of words."),
}
_PARTS: dict[GainPart, tuple[str, str]] = {
    "attention": ("Attention", "Which earlier words each word looks at."),
    "mlp": ("MLP", "What is made of each word by itself; much of the stored knowledge."),
}


class Channel(QWidget):
    """All faders of one adapter.

    Signals:
        changed: A strength is another one.
    """

    changed = Signal()

    def __init__(self, name: str, groups: Mapping[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._main = Fader(name)
        self._main.changed.connect(self.changed)
        self._faders: list[tuple[Fader, LayerGain]] = []
        fold = Fold("By layers", name)
        fold.body.setSpacing(SIZES.xs)
        fold.body.setContentsMargins(SIZES.xl, SIZES.xs, 0, 0)
        for key, layers in groups.items():
            words, hint = _GROUPS[key]
            gain = LayerGain(layers=layers)
            self._add(fold, f"{words} {layers}", name, hint, gain)
        for part, (words, hint) in _PARTS.items():
            self._add(fold, words, name, hint, LayerGain(part=part))
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self._main)
        box.addWidget(fold)

    def build_part(self, folder: str) -> BlendPart:
        """Returns what the faders say about the adapter in a folder."""
        gains = (
            gain.model_copy(update={"factor": fader.value})
            for fader, gain in self._faders
            if fader.value != 1.0
        )
        return BlendPart(adapter=folder, weight=self._main.value, gains=tuple(gains))

    def show_value(self, value: float) -> None:
        """Sets the strength of the whole adapter."""
        self._main.show_value(value)

    def _add(self, fold: Fold, words: str, of: str, hint: str, gain: LayerGain) -> None:
        fader = Fader(words, of, hint)
        fader.changed.connect(self.changed)
        self._faders.append((fader, gain))
        fold.body.addWidget(fader)


class FadersCard(Card):
    """A channel per chosen adapter.

    Signals:
        changed: A strength is another one.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            "2. Strengths",
            "100 % is the adapter as trained, 0 % leaves it out. Type a negative number to take "
            "away what an adapter learnt.",
            parent,
        )
        self._channels: dict[str, Channel] = {}
        self._empty = PlainLabel("Add one adapter to shrink or weaken it, several to mix.", "muted")
        self.body.addWidget(self._empty)

    def show_adapters(self, folders: Mapping[str, str], layer_count: int) -> None:
        """Shows a channel per adapter; those that stay keep their strengths."""
        for name in [name for name in self._channels if name not in folders]:
            channel = self._channels.pop(name)
            self.body.removeWidget(channel)
            channel.hide()
            channel.deleteLater()
        for name in folders:
            if name not in self._channels:
                channel = Channel(name, divide_layers(layer_count))
                channel.changed.connect(self.changed)
                self._channels[name] = channel
                self.body.addWidget(channel)
        self._empty.setVisible(not folders)

    def build_parts(self, folders: Mapping[str, str]) -> tuple[BlendPart, ...]:
        """Returns the adapters with their strengths."""
        return tuple(
            self._channels[name].build_part(folder)
            for name, folder in folders.items()
            if name in self._channels
        )
