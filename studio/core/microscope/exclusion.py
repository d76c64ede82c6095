"""The recipe of a next run that leaves rows out; the user's files and the old run stay."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from studio.core.recipe.schema import Recipe
from studio.core.recipe.schema_data import DataSource

_LONGEST_NAME = 100


def build_recipe_without(
    recipe: Recipe,
    marks: Iterable[str],
    base_folder: Path,
    resume_from: Path | None = None,
) -> Recipe:
    """Returns a recipe that leaves out the rows with these marks besides those left out before.

    Relative paths become whole ones, so that the recipe may be kept anywhere. ``resume_from`` is
    the adapter with which the next run begins; None begins from the base again.
    """
    marks = list(dict.fromkeys((*recipe.data.exclude, *marks)))
    validation = recipe.data.validation
    if isinstance(validation, tuple):
        validation = tuple(_place(one, base_folder) for one in validation)
    data = recipe.data.model_copy(
        update={
            "exclude": tuple(marks),
            "train": tuple(_place(one, base_folder) for one in recipe.data.train),
            "validation": validation,
            "template": _place_text(recipe.data.template, base_folder),
        }
    )
    changes: dict[str, object] = {"data": data, "name": _name(recipe.name)}
    model = _place_text(recipe.base.model, base_folder)
    changes["base"] = recipe.base.model_copy(update={"model": model})
    if resume_from is not None:
        update = {"resume_from": str(resume_from)}
        changes["adapter"] = recipe.adapter.model_copy(update=update)
    return recipe.model_copy(update=changes)


def _name(name: str) -> str:
    ending = " (fewer rows)"
    return name if name.endswith(ending) else name[: _LONGEST_NAME - len(ending)] + ending


def _place(source: DataSource, base_folder: Path) -> DataSource:
    return source.model_copy(update={"source": _place_text(source.source, base_folder)})


def _place_text(text: str, base_folder: Path) -> str:
    """Returns a relative path as a whole one where something lies there, else the text itself."""
    path = base_folder / Path(text).expanduser()
    return str(path) if path.exists() and not Path(text).is_absolute() else text
