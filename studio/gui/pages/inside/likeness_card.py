"""How alike adapters are: the cosine between their updates, in all and layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QWidget

from studio.core.events.measures import SimilarityMeasured
from studio.gui.pages.inside.presenter import InsideLook
from studio.gui.plots.heat_map import HeatMap, HeatTable
from studio.gui.plots.heat_scale import HeatScale, ScaleBar
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import PlainLabel

_WORDS = (
    "The cosine between the updates of two adapters. 1: both change the base in the same "
    "direction. 0: they have nothing to do with each other, as adapters for different tasks "
    "mostly do, and can be mixed without much harm. Below 0: each undoes what the other learnt."
)
_SCALE = HeatScale(-1.0, 1.0, lambda value: f"{value:+.2f}", is_two_sided=True)
_OUTSIDE = "outside"


class LikenessCard(Card):
    """A square of all pairs, and a line per pair with all its layers; hidden for one adapter."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("How alike they are", _WORDS, parent)
        bar = ScaleBar()
        bar.show_scale(_SCALE)
        self._square = HeatMap("Likeness of each pair of adapters", writes_numbers=True)
        self._lines = HeatMap("Likeness layer by layer")
        self._numbers = PlainLabel("", "caption")
        for heat in (self._square, self._lines):
            heat.pointed.connect(self._numbers.setText)
        for widget in (bar, self._square, PlainLabel("Layer by layer", "strong"), self._lines):
            self.body.addWidget(widget)
        self._numbers.setMinimumHeight(self._numbers.fontMetrics().lineSpacing())
        self.body.addWidget(self._numbers)
        self.hide()

    def show_look(self, look: InsideLook) -> None:
        """Shows the pairs of what was measured."""
        self._square.show_table(
            _build_square([one.adapter for one in look.adapters], look.similar), _SCALE
        )
        self._lines.show_table(_build_lines(look.similar), _SCALE)
        self.setVisible(bool(look.similar))


def _build_square(names: Sequence[str], pairs: Sequence[SimilarityMeasured]) -> HeatTable:
    found = {(pair.adapter, pair.other): pair.cosine for pair in pairs}
    values = [
        [
            1.0 if one == other else found.get((one, other), found.get((other, one)))
            for other in names
        ]
        for one in names
    ]
    return HeatTable(
        names,
        names,
        values,
        lambda row, column: f"{names[row]} and {names[column]}: cosine {values[row][column]:.4f}",
    )


def _build_lines(pairs: Sequence[SimilarityMeasured]) -> HeatTable:
    layers = sorted(
        {one.layer for pair in pairs for one in pair.layers},
        key=lambda layer: (layer is None, layer or 0),
    )
    names = [f"{pair.adapter} and {pair.other}" for pair in pairs]
    columns = [_OUTSIDE if layer is None else str(layer) for layer in layers]
    values: list[list[float | None]] = []
    for pair in pairs:
        found = {one.layer: one.cosine for one in pair.layers}
        values.append([found.get(layer) for layer in layers])

    def describe(row: int, column: int) -> str:
        value = values[row][column]
        words = "neither changes it" if value is None else f"cosine {value:.4f}"
        return f"{names[row]}, layer {columns[column]}: {words}"

    return HeatTable(names, columns, values, describe)
