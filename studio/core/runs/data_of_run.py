"""What a run was trained on, for jobs that measure it on the rows it held back."""

from __future__ import annotations

from pathlib import Path

from studio.core.recipe.load import load_recipe
from studio.core.recipe.schema_data import DataSettings
from studio.core.runs.exporting import find_base_folder
from studio.core.runs.layout import RunLayout


def load_run_data(folder: Path) -> tuple[DataSettings, Path]:
    """Returns the data part of a run's frozen recipe, and where its relative paths start.

    Raises:
        FileUnusable: The folder is no run, or its recipe cannot be read.
        RecipeInvalid: The recipe breaks a rule of this version.
    """
    layout = RunLayout(folder)
    recipe = load_recipe(layout.recipe)
    # A recipe alone is enough as long as its paths are whole.
    return recipe.data, Path(find_base_folder(layout) or layout.folder)
