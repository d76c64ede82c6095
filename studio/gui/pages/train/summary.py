"""A recipe in five lines, for a last look before the start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.core.memory.forecast import Forecast
from studio.core.recipe.problem import Problem
from studio.core.recipe.schema import Recipe
from studio.core.recipe.schema_data import ValidationFraction
from studio.core.units import format_bytes, format_duration, format_fraction, format_things
from studio.gui.bridge.estimate import Estimate
from studio.gui.bridge.run_catalog import get_base_name
from studio.gui.forms.words import format_number, get_choice_name

Row = tuple[str, str, str, str]
NOT_CHOSEN = "not chosen yet"
_SHOWN_PROBLEMS = 6


def build_summary(recipe: Recipe, estimate: Estimate | None) -> list[Row]:
    """Returns rows of label, value, note and the page on which to change it."""
    return [
        ("Base model", get_base_name(recipe.base.model), _describe_base(recipe), "model"),
        ("Data", _describe_files(recipe), _describe_rows(recipe, estimate), "data"),
        ("Adapter", _describe_adapter(recipe), _describe_targets(recipe), "recipe"),
        ("Training", _describe_length(recipe, estimate), _describe_pace(recipe), "recipe"),
    ]


def build_memory_row(forecast: Forecast | None) -> Row:
    """Returns the row that says whether it fits, or that nobody knows yet."""
    if forecast is None:
        return ("Memory", "not known yet", "Worked out from the model's files.", "recipe")
    words = {
        "fits": "It fits",
        "tight": "It fits only just and may not",
        "too_large": "It will probably not fit",
    }[forecast.verdict]
    total, free = format_bytes(forecast.ledger.total_bytes), format_bytes(forecast.budget_bytes)
    about = "" if not forecast.time.is_guess else "about "
    note = f"{about}{format_duration(forecast.time.seconds)} of training"
    if forecast.verdict != "fits":
        note = "The Recipe page says what to change so that it fits."
    return ("Memory", f"{words}: {total} of {free} free", note, "recipe")


def build_unfinished_summary(values: dict[str, Any]) -> list[Row]:
    """Returns the rows that are known while the recipe cannot be started yet."""
    model = str(values["base"]["model"])
    sources = [str(row.get("source", "")) for row in values["data"]["train"]]
    files = ", ".join(Path(source).name for source in sources if source)
    return [
        ("Base model", get_base_name(model) if model else NOT_CHOSEN, "", "model"),
        ("Data", files or NOT_CHOSEN, "", "data"),
    ]


def describe_problems(problems: Sequence[Problem]) -> list[str]:
    """Returns what forbids the start, one sentence each."""
    lines = []
    for problem in problems:
        if problem.severity != "error":
            continue
        if problem.path == "base.model":
            lines.append("No base model is chosen yet. Choose one on the page Model.")
        elif problem.path == "data.train":
            lines.append("No training data is chosen yet. Choose a file on the page Data.")
        else:
            lines.append(str(problem))
    return lines[:_SHOWN_PROBLEMS]


def describe_missing(missing: Sequence[Path], recipe: Recipe | None) -> list[str]:
    """Returns a sentence for each file or folder of the recipe that is not there."""
    base = recipe.base.model if recipe is not None else ""
    lines = []
    for path in missing:
        what = "model folder" if str(path) == base else "data file"
        page = "Model" if str(path) == base else "Data"
        lines.append(
            f"The {what} {path} is not there any more. Put it back, or choose another on the "
            f"page {page}."
        )
    return lines[:_SHOWN_PROBLEMS]


def _describe_base(recipe: Recipe) -> str:
    if recipe.base.quantisation == "none":
        return recipe.base.model
    return f"{recipe.base.model}, held in {get_choice_name(recipe.base.quantisation)}"


def _describe_files(recipe: Recipe) -> str:
    return ", ".join(Path(source.source).name for source in recipe.data.train)


def _describe_rows(recipe: Recipe, estimate: Estimate | None) -> str:
    parts = []
    if estimate is not None and estimate.rows is not None:
        parts.append(format_things(estimate.rows, "row"))
    validation = recipe.data.validation
    if isinstance(validation, ValidationFraction):
        share = format_fraction(validation.fraction)
        parts.append(
            f"{share} held back for validation" if validation.fraction else "no validation"
        )
    else:
        parts.append("validated on files of their own")
    if recipe.data.exclude:
        parts.append(f"{len(recipe.data.exclude):,} left out by hand")
    return ", ".join(parts)


def _describe_adapter(recipe: Recipe) -> str:
    adapter = recipe.adapter
    return f"Rank {adapter.rank}, alpha {format_number(adapter.alpha)}"


def _describe_targets(recipe: Recipe) -> str:
    targets = recipe.adapter.targets
    words = get_choice_name(targets) if isinstance(targets, str) else ", ".join(targets)
    layers = "" if recipe.adapter.layers == "all" else f", layers {recipe.adapter.layers}"
    return f"{words}{layers}"


def _describe_length(recipe: Recipe, estimate: Estimate | None) -> str:
    if recipe.train.steps is not None:
        return format_things(recipe.train.steps, "step")
    epochs = f"{format_number(recipe.train.epochs)} epochs"
    if recipe.train.epochs == 1:
        epochs = "1 epoch"
    if estimate is None or estimate.steps is None:
        return epochs
    about = "up to" if recipe.data.leave_out else "about"  # findings are counted only later
    return f"{epochs}, {about} {format_things(estimate.steps, 'step')}"


def _describe_pace(recipe: Recipe) -> str:
    train = recipe.train
    return (
        f"{format_things(train.batch_sequences, 'example')} per step, learning rate "
        f"{format_number(train.learning_rate)} ({train.schedule})"
    )
