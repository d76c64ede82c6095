"""Heat maps: one per adapter, layers from left to right, kinds of modules from top to bottom."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.core.events.measures import AdapterMeasured
from studio.core.inside.grid import LayerGrid, build_grid, describe_cell
from studio.core.inside.measures import LOOK_MEASURES, format_look, get_measure, get_value
from studio.gui.pages.inside.presenter import InsideLook
from studio.gui.plots.heat_map import HeatMap, HeatTable
from studio.gui.plots.heat_scale import HeatScale, ScaleBar
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card
from studio.gui.widgets.labels import ElidedLabel, PlainLabel
from studio.gui.widgets.segmented import Segmented

_WORDS = (
    "Columns are the layers, from the input to the output; lines are the kinds of modules in them. "
    "Point at a square, or walk with the arrow keys, to read its exact numbers."
)


class MapsCard(Card):
    """All adapters in the same colours, so that they can be compared."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("What changes where", _WORDS, parent)
        self._look: InsideLook | None = None
        self._measure = LOOK_MEASURES[0].key
        self._choice = Segmented(
            "Measure", tuple((one.key, one.label, "") for one in LOOK_MEASURES)
        )
        self._choice.chosen.connect(self.show_measure)
        self._words = PlainLabel("", "muted")
        self._notices = PlainLabel("", "warning")
        self._bar = ScaleBar()
        self._maps = QVBoxLayout()
        self._maps.setSpacing(SIZES.xs)
        self.body.addWidget(self._choice)
        for widget in (self._words, self._notices, self._bar):
            self.body.addWidget(widget)
        self.body.addLayout(self._maps)

    def show_look(self, look: InsideLook) -> None:
        """Shows what was measured; the measure stays, unless it is unknown here."""
        self._look = look
        self._notices.setText("\n".join(look.notices))
        self._notices.setVisible(bool(look.notices))
        is_known = any(one.base_norm for each in look.adapters for one in each.modules)
        measure = self._measure
        if not is_known and measure == "relative_norm":
            measure = "norm"
        self.show_measure(measure)

    def show_measure(self, measure: str) -> None:
        """Draws another measure."""
        self._measure = measure
        self._choice.show_value(measure)
        self._words.setText(get_measure(measure).help)
        if self._look is not None:
            self._draw(self._look)

    def _draw(self, look: InsideLook) -> None:
        while (item := self._maps.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        grids = {one.adapter: build_grid(one.modules) for one in look.adapters}
        scale = _build_scale(self._measure, list(grids.values()))
        self._bar.show_scale(scale)
        for one in look.adapters:
            self._add_map(one, grids[one.adapter], scale)

    def _add_map(self, one: AdapterMeasured, grid: LayerGrid, scale: HeatScale) -> None:
        whole = _describe(one, self._measure)
        numbers = ElidedLabel(whole, "caption", mode=Qt.TextElideMode.ElideRight)
        heat = HeatMap(f"{get_measure(self._measure).label}, {one.adapter}", writes_numbers=True)
        heat.show_table(_build_table(grid, self._measure), scale)
        heat.pointed.connect(lambda words: numbers.setText(join_lines(words) or whole))
        self._maps.addWidget(ElidedLabel(one.adapter, "strong"))
        self._maps.addWidget(numbers)
        self._maps.addWidget(heat)
        self._maps.addSpacing(SIZES.s)


def join_lines(words: str) -> str:
    """Returns several lines as one."""
    return "  ·  ".join(words.splitlines())


def _build_table(grid: LayerGrid, measure: str) -> HeatTable:
    return HeatTable(
        grid.kind_names,
        grid.layer_names,
        grid.compute_values(measure),
        lambda row, column: describe_cell(grid, row, column),
    )


def _build_scale(measure: str, grids: list[LayerGrid]) -> HeatScale:
    """Returns colours from nothing to the most that any adapter has; ranks start at 1."""
    values = [
        value
        for grid in grids
        for line in grid.compute_values(measure)
        for value in line
        if value is not None
    ]
    low = 1.0 if measure.endswith("rank") else 0.0
    high = max(values, default=1.0)
    if measure == "effective_rank":
        ranks = [look.rank for grid in grids for cell in grid.cells.values() for look in cell]
        high = float(max(ranks, default=1))
    return HeatScale(low, max(high, low), lambda value: format_look(measure, value))


def _describe(one: AdapterMeasured, measure: str) -> str:
    """Returns the whole adapter in a line: how many modules, the measure over all of them."""
    value = get_value(measure, one.modules)
    count = f"{len(one.modules):,} adapted modules"
    if value is None:
        return count
    kind = "on average" if measure.endswith("rank") else "over all"
    return f"{count}; {get_measure(measure).label.lower()} {kind}: {format_look(measure, value)}"
