"""Opening and saving recipe files, chosen in the system's dialogs."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from studio.core.errors import RecipeInvalid, StudioError
from studio.core.paths import slug
from studio.core.recipe.load import load_recipe, make_absolute
from studio.core.recipe.save import save_recipe
from studio.core.recipe.schema import Recipe

_FILTER = "Recipes (*.yaml *.yml);;All files (*)"


class RecipeFiles(QObject):
    """Recipes from and to files.

    Signals:
        recipe_opened: A recipe that keeps all rules.
        failed: A ``StudioError`` in words for people.
    """

    recipe_opened = Signal(object)
    failed = Signal(object)

    def __init__(self, owner: QWidget) -> None:
        super().__init__(owner)
        self._owner = owner

    def open(self) -> None:
        """Asks for a file and reads it."""
        path, _filter = QFileDialog.getOpenFileName(self._owner, "Open a recipe", "", _FILTER)
        if not path:
            return
        try:
            recipe = load_recipe(Path(path))
        except StudioError as error:
            self.failed.emit(error)
            return
        self.recipe_opened.emit(make_absolute(recipe, Path(path).parent))

    def save(self, recipe: Recipe | None) -> None:
        """Asks for a file and writes a complete recipe to it."""
        if recipe is None:
            self.failed.emit(
                RecipeInvalid(
                    "The recipe cannot be saved while something in it is missing or wrong.",
                    "Mend what is listed on the right first. The draft itself is always kept.",
                )
            )
            return
        start = f"{slug(recipe.name)}.yaml"
        path, _filter = QFileDialog.getSaveFileName(self._owner, "Save the recipe", start, _FILTER)
        if not path:
            return
        target = Path(path)
        try:
            save_recipe(recipe, target if target.suffix else target.with_suffix(".yaml"))
        except StudioError as error:
            self.failed.emit(error)
