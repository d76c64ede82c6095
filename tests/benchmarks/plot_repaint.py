"""Measures one update and one repaint of the loss plot with long runs; prints a table.

Run: python tests/benchmarks/plot_repaint.py
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6.QtWidgets import QApplication, QWidget

from studio.core.runs.series import RunSeries
from studio.gui.bridge.curves import RunCurves
from studio.gui.plots.loss_plot import LossPlot
from studio.gui.plots.overlay_plot import OverlayPlot
from studio.gui.theme.palette import build_palette
from studio.gui.theme.tokens import DARK

ROUNDS = 21
SIZE = (900, 500)


def make_losses(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns steps and a noisy falling curve of ``count`` points."""
    steps = np.arange(1, count + 1, dtype=np.float64)
    noise = np.random.default_rng(seed).normal(0, 0.25, count)
    return steps, 0.8 + 3.0 * np.exp(-steps / (count / 6)) + np.abs(noise)


def measure_milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    """Returns the median and the worst time of ``work`` in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times), max(times)


def repaint(widget: QWidget, app: QApplication) -> None:
    """Paints the widget now, with everything its curves still have to compute."""
    widget.grab()
    app.processEvents()


def main() -> None:
    app = QApplication([])
    app.setPalette(build_palette(DARK))
    print(f"plot of {SIZE[0]} x {SIZE[1]} px, {ROUNDS} rounds, milliseconds (median / worst)")
    print(f"{'curves':34} {'update':>16} {'repaint':>16}")
    for count in (2_000, 20_000, 100_000):
        plot = LossPlot()
        plot.resize(*SIZE)
        plot.show()
        train = make_losses(count)
        validation = (train[0][:: count // 20], train[1][:: count // 20])

        def update(plot: LossPlot = plot, a: object = train, b: object = validation) -> None:
            plot.show_run(a, b)  # type: ignore[arg-type]  # bound early for the loop

        rows = measure_milliseconds(update), measure_milliseconds(lambda p=plot: repaint(p, app))
        print_row(f"loss, raw + smoothed, {count:,}", *rows)
        plot.close()
    overlay = OverlayPlot()
    overlay.resize(*SIZE)
    overlay.show()
    runs = []
    for seed in range(4):
        series = RunSeries()
        for step, loss in zip(*make_losses(100_000, seed), strict=True):
            series.training.append(int(step), loss, 0.0, 0.0, 0.0, 0.0, 0.0)
        runs.append((f"run {seed}", RunCurves.take(series)))
    fill = measure_milliseconds(lambda: overlay.show_runs(tuple(runs)))
    print_row(
        "overlay of 4 runs, 100,000 each", fill, measure_milliseconds(lambda: repaint(overlay, app))
    )
    overlay.close()


def print_row(name: str, first: tuple[float, float], second: tuple[float, float]) -> None:
    cells = (f"{median:6.1f} / {worst:6.1f}" for median, worst in (first, second))
    print(f"{name:34} " + " ".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
