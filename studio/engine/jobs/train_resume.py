"""The part of the training job that goes on with what was saved, and tells what has changed."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import torch

from studio.core.errors import AdapterUnusable, CheckpointDamaged, RecipeInvalid
from studio.core.events.types import NoticeRaised
from studio.core.recipe.diff import diff_recipes
from studio.core.recipe.load import parse_recipe
from studio.core.recipe.save import save_recipe
from studio.core.recipe.schema import Recipe
from studio.core.runs.layout import RunLayout
from studio.engine.lora.adapter import Adapter
from studio.engine.train.checkpoint import (
    find_checkpoints,
    restore_checkpoint,
    set_checkpoint_aside,
)
from studio.engine.train.manifest import check_trained_on, read_recipe, write_recipe
from studio.engine.train.progress import Progress

_NAMED_CHANGES = 3


def restore_newest(
    layout: RunLayout, adapter: Adapter, optimizer: torch.optim.Optimizer
) -> Generator[NoticeRaised, None, Progress]:
    """Puts the newest checkpoint that is what was saved back; returns its progress.

    A damaged one is set aside where an earlier one can take its place.

    Yields:
        NoticeRaised for each that was set aside.

    Raises:
        CheckpointDamaged: No checkpoint is what was saved.
        StudioError: The checkpoint does not fit the recipe, or cannot be read.
    """
    found = find_checkpoints(layout.checkpoints)
    while found:
        newest = found.pop()
        try:
            return restore_checkpoint(newest, adapter, optimizer)
        except CheckpointDamaged as error:
            if not found:
                raise
            aside = set_checkpoint_aside(newest)
            yield NoticeRaised(
                severity="warning",
                code="checkpoint_damaged",
                message=f"{error.message} The run goes on from the one before it, "
                f"{found[-1].name}: the steps since then are trained again.",
                remedy="The result is the same. Check the drive; what is left of the checkpoint "
                f"lies in {aside} and may be deleted.",
            )
    return Progress()


def keep_recipe(layout: RunLayout, recipe: Recipe) -> Iterator[NoticeRaised]:
    """Saves the recipe that a run trains with, and tells what was changed in it meanwhile.

    Yields:
        NoticeRaised where an earlier attempt trained with another one.

    Raises:
        FileUnusable: Recipe or manifest cannot be read or written.
    """
    save_recipe(recipe, layout.recipe)
    earlier = _read_earlier_recipe(layout)
    changes = [] if earlier is None else diff_recipes(earlier, recipe)
    if earlier is None or changes:
        write_recipe(layout.manifest, recipe.model_dump(mode="json"))
    if changes:
        words = [f"{one.path} was {one.before}, now {one.after}" for one in changes]
        more = "" if len(words) <= _NAMED_CHANGES else f" and {len(words) - _NAMED_CHANGES} more"
        yield NoticeRaised(
            severity="warning",
            code="recipe_changed",
            message="The recipe of this run was changed since it was started: "
            f"{'; '.join(words[:_NAMED_CHANGES])}{more}.",
            remedy="The run goes on with the new values. For an exact result, put the old ones "
            f"back into {layout.recipe}, or start a new run.",
        )


def _read_earlier_recipe(layout: RunLayout) -> Recipe | None:
    plain = read_recipe(layout.manifest)
    try:
        return None if plain is None else parse_recipe(plain)
    except RecipeInvalid:
        return None  # of a version with other rules: there is nothing to compare with


def tell_other_base(folder: str | None, start: Path, model: Path) -> Iterator[NoticeRaised]:
    """Tells when the adapter that a run begins with was trained on other weights.

    ``folder`` is that adapter, if there is one, as the recipe names it below ``start``.

    Yields:
        NoticeRaised where it was.
    """
    if folder is None:
        return
    try:
        check_trained_on(start / Path(folder).expanduser(), model)
    except AdapterUnusable as error:
        yield NoticeRaised(
            severity="warning",
            code=error.code,
            message=error.message,
            remedy="The run goes on with it all the same: training fits it to these weights. If "
            "that was not meant, stop and choose the base model it was trained on.",
        )
