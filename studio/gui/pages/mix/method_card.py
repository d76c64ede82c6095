"""How the adapters are mixed, each way with what it is good for."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QSpinBox, QWidget

from studio.core.jobs.orders import BlendPart, BlendSettings
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import PlainLabel, plain_tooltip
from studio.gui.widgets.segmented import Segmented

_METHODS = {
    "linear": (
        "Exact sum",
        "Adds the updates exactly. The new rank is the sum of the ranks, so nothing is lost.",
    ),
    "svd": (
        "Smaller rank",
        "Adds the updates, then keeps the most important directions only (SVD). Makes a small "
        "adapter; with one adapter alone it shrinks it. What was lost is shown after saving.",
    ),
    "ties": (
        "TIES",
        "Keeps only the largest numbers of each adapter and lets them agree on a sign, so that "
        "adapters for different tasks disturb each other less. Takes longer on large models.",
    ),
    "dare": (
        "DARE",
        "Drops numbers of each adapter by chance and makes the others larger, so that adapters "
        "overlap less. Takes longer on large models.",
    ),
}
_SPARSE = ("ties", "dare")


class MethodCard(Card):
    """The method, the rank and the share that is kept.

    Signals:
        changed: Another method, rank or share.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("3. Method", parent=parent)
        self.method = "linear"
        self._choice = Segmented(
            "Method", tuple((key, words, "") for key, (words, _) in _METHODS.items())
        )
        self._choice.chosen.connect(self.show_method)
        self._words = PlainLabel("", "muted")
        self._rank = _build_number("Rank of the mix", 1, 1024, 16)
        self._rank.setToolTip(
            plain_tooltip("How many directions the new adapter may change in each layer")
        )
        self._density = _build_number("Share of each adapter that is kept", 1, 100, 50)
        self._density.setSuffix(" %")
        self._rank_row = _build_row("Rank", self._rank)
        self._density_row = _build_row("Keep of each adapter", self._density)
        for number in (self._rank, self._density):
            number.valueChanged.connect(lambda _: self.changed.emit())
        numbers = QHBoxLayout()
        numbers.setSpacing(SIZES.xl)
        numbers.addWidget(self._rank_row)
        numbers.addWidget(self._density_row)
        numbers.addStretch(1)
        self.body.addWidget(self._choice)
        self.body.addWidget(self._words)
        self.body.addLayout(numbers)
        self.show_method("linear")

    @property
    def is_quick(self) -> bool:
        """Whether a mix is made fast enough to follow a moving fader."""
        return self.method not in _SPARSE

    def show_method(self, method: str) -> None:
        """Chooses a method."""
        self.method = method
        self._choice.show_value(method)
        self._words.setText(_METHODS[method][1])
        self._rank_row.setVisible(method != "linear")
        self._density_row.setVisible(method in _SPARSE)
        self.changed.emit()

    def build_settings(self, parts: tuple[BlendPart, ...]) -> BlendSettings:
        """Returns the mix of these adapters."""
        return BlendSettings.model_validate(
            {
                "parts": parts,
                "method": self.method,
                "rank": None if self.method == "linear" else self._rank.value(),
                "density": self._density.value() / 100,
            }
        )


def _build_number(name: str, low: int, high: int, value: int) -> QSpinBox:
    number = QSpinBox()
    number.setRange(low, high)
    number.setValue(value)
    number.setAccessibleName(name)
    number.setFixedWidth(100)
    number.lineEdit().setTextMargins(SIZES.s, 0, 0, 0)
    return number


def _build_row(words: str, number: QSpinBox) -> QWidget:
    content = QWidget()
    row = QHBoxLayout(content)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(SIZES.s)
    row.addWidget(PlainLabel(words, wraps=False))
    row.addWidget(number)
    return content
