from __future__ import annotations

import pytest
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from studio.gui.plots.heat_map import HeatMap, HeatTable
from studio.gui.plots.heat_scale import HeatScale, ScaleBar, get_text_colour
from studio.gui.theme.tokens import DARK, LIGHT, Colours


def measure_light(colour: QColor) -> float:
    """Returns the relative luminance of WCAG 2.1, 0 to 1."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (colour.redF(), colour.greenF(), colour.blueF())
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_more_is_told_by_lightness_alone(colours: Colours) -> None:
    scale = HeatScale(0.0, 2.0, str)
    steps = [measure_light(scale.get_colour(step / 10, colours)) for step in range(21)]
    assert steps == sorted(steps, reverse=not colours.is_dark)
    assert scale.get_colour(-5, colours) == scale.get_colour(0, colours)
    assert scale.get_colour(5, colours) == scale.get_colour(2, colours)
    two_sided = HeatScale(-1.0, 1.0, str, is_two_sided=True)
    for sign in (-1, 1):
        side = [measure_light(two_sided.get_colour(sign * x / 10, colours)) for x in range(11)]
        assert side == sorted(side, reverse=not colours.is_dark)
    # without red and green alone, blue against orange remains
    low, high = two_sided.get_colour(-1, colours), two_sided.get_colour(1, colours)
    assert high.blue() - low.blue() > 100


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_numbers_are_readable_on_every_colour(colours: Colours) -> None:
    scale = HeatScale(-1.0, 1.0, str, is_two_sided=True)
    for step in range(21):
        fill = scale.get_colour(step / 10 - 1, colours)
        low, high = sorted(map(measure_light, (fill, get_text_colour(fill))))
        assert (high + 0.05) / (low + 0.05) >= 4.0


def test_a_map_draws_values_gaps_and_few_names_of_many_columns(qtbot: QtBot) -> None:
    heat, bar = HeatMap("Sizes"), ScaleBar()
    for widget in (heat, bar):
        qtbot.addWidget(widget)
    scale = HeatScale(0.0, 1.0, lambda value: f"{value:.1f}")
    values = [[None if column == 3 else column / 99 for column in range(100)]]
    names = [str(column) for column in range(100)]
    heat.show_table(HeatTable(["q_proj"], names, values, lambda r, c: f"{r}/{c}"), scale)
    bar.show_scale(scale)
    heat.resize(700, heat.sizeHint().height())
    bar.resize(bar.sizeHint())
    picture = heat.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    place = heat._get_area(0, 99).center().toPoint()
    assert picture.pixelColor(place) == scale.get_colour(1.0, LIGHT)
    assert heat._find_place(place) == (0, 99)
    assert bar.accessibleName() == "Colours from 0.0 to 1.0"
    assert not bar.grab().isNull()
