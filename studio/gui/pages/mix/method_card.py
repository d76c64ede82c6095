"""How the adapters are mixed, each way with what it is good for."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QSpinBox, QWidget

from studio.core.jobs.orders import BlendPart, BlendSettings
from studio.core.units import format_fraction
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
        "adapter; with one adapter alone it shrinks it. What is lost is shown as soon as the mix "
        "has answered, and after saving.",
    ),
    "ties": (
        "TIES",
        "Keeps only the largest numbers of each adapter and lets them agree on a sign, so that "
        "adapters for different tasks disturb each other less.",
    ),
    "dare": (
        "DARE",
        "Drops numbers of each adapter by chance and makes the others larger, so that adapters "
        "overlap less.",
    ),
}
_SPARSE = ("ties", "dare")
_NOTHING = 1e-6


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
        self._errors = PlainLabel("")
        self._errors.hide()
        self.body.addLayout(numbers)
        self.body.addWidget(self._errors)
        self.show_method("linear")

    def show_errors(self, rank: int, errors: Mapping[int, float]) -> None:
        """Shows what the mix that answers loses, and what other ranks would lose."""
        self._errors.setText(_describe_errors(rank, errors) if self.method != "linear" else "")
        self._errors.setVisible(bool(self._errors.text()))

    def show_method(self, method: str) -> None:
        """Chooses a method."""
        self.method = method
        self._choice.show_value(method)
        self._words.setText(_METHODS[method][1])
        self._rank_row.setVisible(method != "linear")
        self._density_row.setVisible(method in _SPARSE)
        self.show_errors(0, {})
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


def _describe_errors(rank: int, errors: Mapping[int, float]) -> str:
    """Returns the loss of the rank that answers as a sentence, and those of others behind it."""
    lost = errors.get(rank)
    if lost is None:
        return ""
    words = f"Rank {rank} holds the whole mix."
    if lost > _NOTHING:
        words = f"Rank {rank} cannot hold {format_fraction(lost)} of the mix."
    others = [f"{one}: {format_fraction(errors[one])}" for one in sorted(errors) if one != rank]
    return f"{words} Lost at other ranks: {', '.join(others)}." if others else words


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
