"""How many steps a recipe will take, judged from the files without loading the engine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from studio.core.recipe.schema import Recipe
from studio.core.recipe.schema_data import DataSource, ValidationFraction
from studio.gui.bridge.background import Cancellation

_BLOCK_BYTES = 1 << 20
_LARGEST_JSON_BYTES = 2 << 30


@dataclass(frozen=True)
class Estimate:
    """Rows in the training files and the steps they lead to; None where nobody can tell yet.

    Rows left out by hand are among the rows, yet lead to no steps. ``missing`` are the files and
    folders that the recipe names by their whole path and that are not there.
    """

    rows: int | None
    steps: int | None
    missing: tuple[Path, ...] = ()


def estimate_run(recipe: Recipe, base_folder: Path, cancellation: Cancellation) -> Estimate:
    """Returns rows and steps; only line-based files (JSONL) can be counted without the engine."""
    missing = find_missing(recipe)
    rows = 0.0
    for source in recipe.data.active_train:
        counted = _count_rows(source, base_folder, cancellation)
        if counted is None:
            return Estimate(None, recipe.train.steps, missing)
        rows += counted
    train_rows = max(0.0, rows - len(recipe.data.exclude))
    if isinstance(recipe.data.validation, ValidationFraction):
        train_rows *= 1 - recipe.data.validation.fraction
    steps = recipe.train.steps
    if steps is None:
        steps = max(1, math.ceil(train_rows * recipe.train.epochs / recipe.train.batch_sequences))
    return Estimate(round(rows), steps, missing)


def find_missing(recipe: Recipe) -> tuple[Path, ...]:
    """Returns what the recipe names by its whole path and what is not there (any more)."""
    sources = list(recipe.data.active_train)
    if not isinstance(recipe.data.validation, ValidationFraction):
        sources += recipe.data.validation
    named = [recipe.base.model, *(source.source for source in sources)]
    places = [Path(name) for name in dict.fromkeys(named)]
    return tuple(place for place in places if place.is_absolute() and not place.exists())


def _count_rows(source: DataSource, base_folder: Path, cancellation: Cancellation) -> float | None:
    path = base_folder / source.source
    if path.suffix.lower() not in (".jsonl", ".ndjson") or not path.is_file():
        return None
    if path.stat().st_size > _LARGEST_JSON_BYTES:
        return None
    count = 0
    last = b"\n"
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            if cancellation.is_set:
                return None
            count += block.count(b"\n")
            last = block[-1:]
    count += last != b"\n"
    return min(count, source.limit or count) * source.weight
