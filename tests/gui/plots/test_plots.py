from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.core.runs.series import RunSeries
from studio.gui.app import Studio
from studio.gui.bridge.curves import RunCurves
from studio.gui.plots.loss_plot import LossPlot
from studio.gui.plots.metric_plot import MetricPlot
from studio.gui.plots.overlay_plot import OverlayPlot
from studio.gui.plots.run_plots import RunPlots
from studio.gui.theme.tokens import DARK, LIGHT
from tests.gui.story import tell_start, tell_steps


@pytest.fixture
def loss(qtbot: QtBot) -> LossPlot:
    plot = LossPlot()
    qtbot.addWidget(plot)
    plot.resize(700, 320)
    return plot


def take(last: int, total: int = 60) -> RunCurves:
    series = RunSeries()
    for fact in [*tell_start(total), *tell_steps(last, total)]:
        series.add(fact)
    return RunCurves.take(series)


def get_range(plot: LossPlot) -> list[list[float]]:
    return plot._canvas._view.viewRange()


def test_losses_that_are_no_number_are_left_out(loss: LossPlot) -> None:
    steps = np.arange(1.0, 6.0)
    nothing = np.empty(0)
    losses = np.array([2.0, np.nan, 1.5, np.inf, 1.0])
    loss.show_run((steps, losses), (nothing, nothing))
    loss.grab()
    assert loss._raw_line.getOriginalDataset()[0].tolist() == [1.0, 3.0, 5.0]


def test_a_run_of_nothing_but_nan_can_be_drawn(loss: LossPlot) -> None:
    steps = np.arange(1.0, 4.0)
    loss.show_run((steps, np.full(3, np.nan)), (steps, np.full(3, np.nan)))
    loss.grab()
    assert loss._legend._entries["train"][2].text() == ""


def test_the_star_sits_at_the_lowest_validation_loss(loss: LossPlot) -> None:
    steps = np.arange(1.0, 5.0)
    loss.show_run((steps, steps), (steps, np.array([3.0, 1.0, 2.0, 2.5])))
    x, y = loss._best_mark.getOriginalDataset()
    assert (x.tolist(), y.tolist()) == ([2.0], [1.0])
    assert "step 2" in loss._legend._entries["best"][2].text()


def test_one_spike_does_not_press_the_curve_flat(loss: LossPlot) -> None:
    steps = np.arange(1.0, 1001.0)
    losses = np.ones(1000)
    losses[500] = 1e6
    loss.show_run((steps, losses), (np.empty(0), np.empty(0)))
    loss._slider.setValue(0)
    plain = get_range(loss)[1][1]
    losses[500] = 1.0
    assert plain < 2e6
    loss._slider.setValue(45)
    assert get_range(loss)[1][1] < 1e6


def test_the_view_follows_until_the_user_zooms_and_again_after_fit(
    loss: LossPlot, qtbot: QtBot
) -> None:
    steps = np.arange(1.0, 101.0)
    nothing = (np.empty(0), np.empty(0))
    loss.show_run((steps, 1 / steps), nothing)
    with qtbot.waitSignal(loss._canvas.following_changed):
        qtbot.keyClick(loss._canvas, Qt.Key.Key_Plus)
    assert not loss.is_following
    zoomed = get_range(loss)[0]
    more = np.arange(1.0, 201.0)
    loss.show_run((more, 1 / more), nothing)
    assert get_range(loss)[0] == zoomed
    loss._fit.click()
    assert loss.is_following
    assert get_range(loss)[0][1] > 200


def test_the_logarithmic_scale_bears_zero(loss: LossPlot) -> None:
    steps = np.arange(1.0, 4.0)
    loss.show_run((steps, np.array([1.0, 0.0, 0.1])), (np.empty(0), np.empty(0)))
    loss._log.click()
    loss.grab()
    assert get_range(loss)[1][1] < 1


def test_hovering_shows_the_values_of_the_nearest_step(loss: LossPlot) -> None:
    steps = np.arange(1.0, 11.0)
    loss._slider.setValue(0)
    loss.show_run((steps, steps * 10), (np.empty(0), np.empty(0)))
    loss._canvas.step_hovered.emit(3.2)
    assert loss._legend._entries["step"][2].text() == "3"
    assert loss._legend._entries["train"][2].text() == "30"
    loss._canvas.step_hovered.emit(None)
    assert loss._legend._entries["step"][2].text() == "10"


def test_another_theme_repaints_background_and_curves(studio: Studio, loss: LossPlot) -> None:
    loss.show()
    for choice, colours in (("light", LIGHT), ("dark", DARK)):
        studio.context.theme.choose(choice)
        assert loss._canvas.colours == colours
        assert loss._smooth_line.opts["pen"].color().name() == colours.series[0]


def test_a_small_plot_says_its_newest_value_in_words(qtbot: QtBot) -> None:
    plot = MetricPlot("Speed", "Tokens per second", lambda value: f"{value:.0f} per second")
    qtbot.addWidget(plot)
    plot.show_values(np.array([1.0, 2.0]), np.array([5.0, 7.0]))
    assert plot._value.text() == "7 per second"


def test_the_overlay_draws_one_line_and_one_row_of_dots_per_run(qtbot: QtBot) -> None:
    plot = OverlayPlot()
    qtbot.addWidget(plot)
    plot.show_runs((("one", take(40)), ("two", take(60))))
    assert len(plot._items) == 4
    assert plot._meaning.text() == "Line: training loss. Dots: validation loss."
    plot.show_runs((("two", take(60)),))
    assert len(plot._items) == 2


def test_all_plots_end_with_the_newest_curves(qtbot: QtBot) -> None:
    plots = RunPlots()
    qtbot.addWidget(plots)
    plots.show_curves(RunCurves.empty(), None)
    assert plots._plots.isHidden()
    for last in (10, 20, 30):
        plots.show_curves(take(last), 60)
    assert plots._loss is None  # built one by one, each in a turn of its own
    plots._build_next()
    assert plots._loss is not None
    assert not plots._small
    qtbot.waitUntil(lambda: plots.is_built and not plots._turns.isActive())
    assert len(plots._loss._train[0]) == 30
    assert plots._small[3]._value.text() == "4.8 GB"


def test_a_run_that_ended_before_its_first_step_says_so(qtbot: QtBot) -> None:
    plots = RunPlots()
    qtbot.addWidget(plots)
    plots.show_curves(RunCurves.empty(), None)
    assert plots._waiting.text().startswith("The curves begin")
    plots.show_curves(RunCurves.empty(), None, is_over=True)
    assert plots._waiting.text().startswith("The run ended before its first step")


def test_the_legend_says_that_the_loss_is_smoothed_only_while_it_is(qtbot: QtBot) -> None:
    plot = LossPlot()
    qtbot.addWidget(plot)
    plot.show_run((np.arange(9.0), np.arange(9.0)), (np.empty(0), np.empty(0)))
    label = plot._legend._entries["train"][1]
    assert label.text() == "Training loss, smoothed"
    plot._slider.setValue(0)
    assert label.text() == "Training loss"
