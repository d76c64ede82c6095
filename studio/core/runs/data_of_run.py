"""What a run was trained on, for jobs that measure it on the rows it held back."""

from __future__ import annotations

from pathlib import Path

from studio.core.errors import StudioError
from studio.core.jobs.orders import TrainOrder
from studio.core.recipe.load import load_recipe
from studio.core.recipe.schema_data import DataSettings
from studio.core.runs.layout import RunLayout
from studio.core.runs.store import load_order


def load_run_data(folder: Path) -> tuple[DataSettings, Path]:
    """Returns the data part of a run's frozen recipe, and where its relative paths start.

    Raises:
        FileUnusable: The folder is no run, or its recipe cannot be read.
        RecipeInvalid: The recipe breaks a rule of this version.
    """
    layout = RunLayout(folder)
    recipe = load_recipe(layout.recipe)
    return recipe.data, _find_start(layout)


def _find_start(layout: RunLayout) -> Path:
    try:
        order = load_order(layout)
    except StudioError:
        return layout.folder  # a recipe alone is enough as long as its paths are whole
    return Path(order.base_folder) if isinstance(order, TrainOrder) else layout.folder
