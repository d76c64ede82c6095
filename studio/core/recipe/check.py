"""Rules between settings: what will fail, what looks like a slip, what is worth knowing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import RecipeInvalid
from studio.core.recipe.check_files import iter_file_problems
from studio.core.recipe.check_quantisation import iter_quantisation_problems
from studio.core.recipe.check_tables import iter_table_problems
from studio.core.recipe.check_zeros import iter_zero_problems
from studio.core.recipe.problem import Problem
from studio.core.recipe.schema import AdapterSettings, Recipe
from studio.core.recipe.schema_data import ValidationFraction
from studio.core.recipe.schema_train import TrainSettings
from studio.core.units import format_percent
from studio.core.weights.layers import ModelLayers

_LOWEST_RATE, _HIGHEST_RATE, _HIGHEST_FULL_RATE = 1e-6, 1e-2, 1e-4
_WEAKEST_SCALE, _STRONGEST_SCALE = 0.1, 8.0
_PLAIN_RANK_LIMIT = 64
_LARGEST_SHARE = 0.3
_FEW_VALIDATION_ROWS = 10
_MANY_ROWS = 10_000
_SHORTEST_TOKENS = 32


def check_recipe(
    recipe: Recipe,
    *,
    layers: ModelLayers | None = None,
    rows: int | None = None,
    base_folder: Path | None = None,
) -> list[Problem]:
    """Return errors, warnings and notes about a recipe that keeps the rules of the format.

    ``layers`` (of the base model) lets ranks, patterns and lengths be compared with the model,
    ``rows`` (of the training data) the counts with the data. With ``base_folder``, where relative
    paths start, every file and folder of the recipe is looked up on disk.
    """
    problems = [
        *iter_quantisation_problems(recipe),
        *iter_zero_problems(recipe),
        *_check_scale(recipe.adapter),
        *_check_targets(recipe.adapter, layers),
        *_check_lengths(recipe, layers),
        *_check_validation(recipe, rows),
        *_check_rows(recipe, rows),
        *_check_rate(recipe),
        *_check_schedule(recipe.train),
    ]
    if base_folder is not None:
        problems += iter_file_problems(recipe, base_folder)
    return problems


def _check_scale(adapter: AdapterSettings) -> Iterator[Problem]:
    if adapter.rank == "full":
        return
    choices = [("adapter.alpha", adapter.rank, adapter.alpha)]
    choices += [
        (f"adapter.overrides[{index}]", item.rank or adapter.rank, item.alpha or adapter.alpha)
        for index, item in enumerate(adapter.overrides)
    ]
    for path, rank, alpha in choices:
        divisor = math.sqrt(rank) if adapter.variant == "rslora" else rank
        scale = alpha / divisor
        if _WEAKEST_SCALE <= scale <= _STRONGEST_SCALE:
            continue
        strength = "strongly" if scale > 1 else "weakly"
        yield Problem(
            path,
            f"with rank {rank} and alpha {alpha:g} the adapter acts very {strength} "
            f"(its update is multiplied by {scale:.3g}).",
            f"An alpha of about {round(2 * divisor)} is a good start.",
            "warning",
        )
    if adapter.variant == "plain" and adapter.rank >= _PLAIN_RANK_LIMIT:
        yield Problem(
            "adapter.variant",
            f"ranks of {_PLAIN_RANK_LIMIT} and more often learn better with the variant rslora.",
            f"Try rslora with an alpha of about {round(2 * math.sqrt(adapter.rank))}.",
            "note",
        )
    if adapter.dropout > 0.5:
        yield Problem(
            "adapter.dropout",
            f"{format_percent(adapter.dropout)} of the inputs are ignored, so little can be "
            "learnt.",
            "0 to 0.1 is usual.",
            "warning",
        )


def _check_targets(adapter: AdapterSettings, layers: ModelLayers | None) -> Iterator[Problem]:
    if layers is None or adapter.resume_from is not None:
        return
    try:
        chosen = layers.choose(adapter)
    except RecipeInvalid as error:
        yield from error.problems
        return
    yield from iter_table_problems(adapter, layers, {item.name for item in chosen})
    trainable, too_large = 0, []
    for item in chosen:
        module = layers.by_name[item.name]
        trainable += module.count_adapter(item.rank)
        if item.rank > min(module.in_features, module.out_features):
            too_large.append(module)
    if too_large:
        first = min(too_large, key=lambda module: min(module.in_features, module.out_features))
        size = min(first.in_features, first.out_features)
        yield Problem(
            "adapter.rank",
            f"the rank is larger than {len(too_large)} of the {len(chosen)} adapted modules can "
            f"use: {first.name} can use {size} at most.",
            f"Choose a rank of {size} or less; more costs memory and adds nothing.",
            "warning",
        )
    elif trainable > _LARGEST_SHARE * layers.parameters:
        yield Problem(
            "adapter.rank",
            f"the adapter will have {format_percent(trainable / layers.parameters)} as many "
            "parameters as the model itself.",
            "Choose a smaller rank or fewer target modules.",
            "note",
        )


def _check_lengths(recipe: Recipe, layers: ModelLayers | None) -> Iterator[Problem]:
    longest, at_once = recipe.data.max_tokens, recipe.train.micro_batch_tokens
    if longest == "auto":
        return
    if layers is not None and layers.context_tokens and longest > layers.context_tokens:
        yield Problem(
            "data.max_tokens",
            f"the model reads at most {layers.context_tokens:,} tokens.",
            f"Choose {layers.context_tokens:,} or less, or auto.",
        )
    if longest < _SHORTEST_TOKENS:
        yield Problem(
            "data.max_tokens",
            f"nearly every example is longer than {longest} tokens and would be cut.",
            "Choose auto, or at least a few hundred tokens.",
            "warning",
        )
    if at_once != "auto" and at_once < longest:
        yield Problem(
            "train.micro_batch_tokens",
            f"it is smaller than the longest example ({longest:,} tokens), which needs that many "
            "at once.",
            f"Choose {longest:,} or more, or auto.",
            "warning",
        )


def _check_validation(recipe: Recipe, rows: int | None) -> Iterator[Problem]:
    validation, train = recipe.data.validation, recipe.train
    if not recipe.data.active_train:
        yield Problem(
            "data.train",
            "every file is switched off, so there is nothing to learn from.",
            "Switch at least one file on.",
        )
    if isinstance(validation, ValidationFraction):
        if validation.fraction == 0:
            yield from _check_without_validation(train)
        elif rows is not None and round(rows * validation.fraction) < _FEW_VALIDATION_ROWS:
            yield Problem(
                "data.validation.fraction",
                f"only about {round(rows * validation.fraction)} of {rows:,} rows are held back, "
                "too few to measure anything.",
                "Choose a larger share, or a validation file of its own.",
                "warning",
            )
    else:
        names = {item.source for item in recipe.data.active_train}
        for index, item in enumerate(validation):
            if item.source in names:
                yield Problem(
                    f"data.validation[{index}].source",
                    "this file is trained on as well, so the validation loss says nothing.",
                    "Choose another file, or hold back a share of the rows.",
                    "warning",
                )
    every = train.evaluate_every_steps
    if train.steps is not None and every != "auto" and every > train.steps:
        yield Problem(
            "train.evaluate_every_steps",
            f"the run ends after {train.steps:,} steps, before the first validation.",
            f"Choose {train.steps:,} or less, or auto.",
            "warning",
        )


def _check_without_validation(train: TrainSettings) -> Iterator[Problem]:
    if train.early_stopping_patience > 0:
        yield Problem(
            "train.early_stopping_patience",
            "without validation rows the run cannot stop early.",
            "Hold back a share of the rows, for example data.validation.fraction 0.05.",
            "note",
        )
    if train.evaluate_every_steps != "auto":
        yield Problem(
            "train.evaluate_every_steps",
            "without validation rows there is nothing to measure.",
            "Hold back a share of the rows, or leave this at auto.",
            "note",
        )


def _check_rows(recipe: Recipe, rows: int | None) -> Iterator[Problem]:
    if rows is None:
        return
    if recipe.train.batch_sequences > rows:
        yield Problem(
            "train.batch_sequences",
            f"one batch is larger than the whole data ({rows:,} rows).",
            f"Choose {max(1, rows // 8):,} or less.",
            "warning",
        )
    if recipe.adapter.dropout > 0 and rows >= _MANY_ROWS:
        yield Problem(
            "adapter.dropout",
            f"with {rows:,} rows there is little danger of learning by heart; dropout only slows "
            "the learning.",
            "0 is usual here.",
            "note",
        )


def _check_rate(recipe: Recipe) -> Iterator[Problem]:
    train = recipe.train
    fastest = train.learning_rate * max(1.0, train.lora_plus_ratio)
    if fastest > _HIGHEST_RATE:
        by_ratio = train.learning_rate <= _HIGHEST_RATE
        yield Problem(
            "train.lora_plus_ratio" if by_ratio else "train.learning_rate",
            f"a learning rate of {fastest:g}{' for B' if by_ratio else ''} is very high; training "
            "will probably diverge.",
            "2e-4 suits most adapters.",
            "warning",
        )
    elif train.learning_rate < _LOWEST_RATE:
        yield Problem(
            "train.learning_rate",
            f"a learning rate of {train.learning_rate:g} is so low that hardly anything is learnt.",
            "2e-4 suits most adapters.",
            "warning",
        )
    elif recipe.adapter.rank == "full" and train.learning_rate > _HIGHEST_FULL_RATE:
        yield Problem(
            "train.learning_rate",
            f"{train.learning_rate:g} is a rate for adapters; weights that are trained themselves "
            "want about a tenth of it.",
            "1e-5 to 5e-5 is usual; very small models bear more.",
            "note",
        )


def _check_schedule(train: TrainSettings) -> Iterator[Problem]:
    if train.steps is not None and train.epochs != TrainSettings().epochs:
        yield Problem(
            "train.epochs",
            f"the number of steps ({train.steps:,}) decides; the epochs are not used.",
            "Leave the steps empty if the epochs shall decide.",
            "note",
        )
    if train.warmup_fraction > 0.5:
        yield Problem(
            "train.warmup_fraction",
            f"the learning rate rises during {format_percent(train.warmup_fraction)} of the run.",
            "0.03 to 0.1 is usual.",
            "warning",
        )
    if train.sample_every_steps != "auto" and not train.sample_prompts:
        yield Problem(
            "train.sample_every_steps",
            "there are no sample prompts to answer.",
            "Add sample prompts, or leave this at auto.",
            "note",
        )
