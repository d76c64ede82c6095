"""Recipes as YAML text and files, with the keys in the order of the format."""

from __future__ import annotations

from pathlib import Path

from studio.core.files import write_atomically
from studio.core.recipe.schema import Recipe
from studio.core.recipe.yaml_text import dump_yaml


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as YAML for people; ``parse`` of it gives an equal recipe."""
    return dump_yaml(recipe.model_dump(mode="json"))


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write the recipe to a file, entirely or not at all.

    Raises:
        DiskFull: No space is left; an older file is untouched.
        FileUnusable: The folder is missing or not writable.
    """
    write_atomically(path, dump_recipe(recipe))
