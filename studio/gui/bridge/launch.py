"""The ways a job comes to life: new from a recipe, new from an order, again, or found running."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from studio.core.jobs.orders import AnyOrder, TrainOrder
from studio.core.jobs.process import attach, start_job
from studio.core.recipe.schema import Recipe
from studio.core.runs.layout import RunLayout
from studio.core.runs.store import RunStore
from studio.gui.bridge.job_thread import Launched

Launch = Callable[[], Launched]


def launch_recipe(store: RunStore, recipe: Recipe, base_folder: Path) -> Launch:
    """Returns what makes a new run of a recipe and starts to train it."""

    def launch() -> Launched:
        layout = store.create(recipe, TrainOrder(base_folder=str(base_folder)))
        return Launched(layout, start_job(layout, is_polite=True))

    return launch


def launch_order(store: RunStore, order: AnyOrder, recipe: Recipe | None = None) -> Launch:
    """Returns what makes a short-lived job (chat, preview, export) and starts it."""

    def launch() -> Launched:
        layout = store.create_job(order, recipe)
        return Launched(layout, start_job(layout))

    return launch


def relaunch(folder: Path) -> Launch:
    """Returns what starts a run once more from its last checkpoint."""

    def launch() -> Launched:
        layout = RunLayout(folder)
        return Launched(layout, start_job(layout, is_polite=True))

    return launch


def reattach(folder: Path) -> Launch:
    """Returns what finds the process of a run that an earlier window or a command line started."""

    def launch() -> Launched:
        layout = RunLayout(folder)
        return Launched(layout, attach(layout))

    return launch
