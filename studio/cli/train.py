"""``lora-studio train`` and ``lora-studio resume``: run a recipe, or go on with a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from studio.cli.console import Console
from studio.cli.jobs import run_job
from studio.core.errors import FileUnusable, RunConflict
from studio.core.events.types import Event, PlanMade, StepFinished
from studio.core.jobs.orders import TrainOrder
from studio.core.paths import Home
from studio.core.recipe.check import check_recipe
from studio.core.recipe.load import load_recipe, set_values
from studio.core.recipe.problem import build_refusal
from studio.core.recipe.schema import Recipe
from studio.core.runs.layout import RunLayout
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore
from studio.core.units import format_duration

MILESTONES = 8
"""How many lines of progress stay to be read after the run."""


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the two commands."""
    parser = commands.add_parser("train", parents=[shared], help="train as a recipe file says")
    parser.add_argument("recipe", type=Path, help="recipe file (YAML)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting, for example train.steps=50; can be given several times",
    )
    parser.set_defaults(run=run_train)
    parser = commands.add_parser("resume", parents=[shared], help="go on with a stopped run")
    parser.add_argument("which", metavar="RUN", help="name, id or folder of the run")
    parser.set_defaults(run=run_resume)


def run_train(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Check the recipe, train, report."""
    recipe = set_values(load_recipe(arguments.recipe), arguments.set)
    base_folder = arguments.recipe.expanduser().resolve().parent
    layout = start_recipe(recipe, base_folder, console, home)
    return report(layout, console, home)


def run_resume(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Go on from the newest checkpoint, exactly as if nothing had happened."""
    store = RunStore(home)
    record = store.find(arguments.which)
    if record.status == "finished":
        raise RunConflict(
            f"The run {record.name} is finished; there is nothing to go on with.",
            "Start a new run, with adapter.resume_from set to its adapter folder, to train longer.",
        )
    layout = RunLayout(Path(record.folder))
    order = store.load_order(layout)
    if not isinstance(order, TrainOrder):
        raise RunConflict(f"{record.name} is no training run.", "List them: lora-studio runs list")
    train(layout, order, console)
    return report(layout, console, home)


def start_recipe(recipe: Recipe, base_folder: Path, console: Console, home: Home) -> RunLayout:
    """Refuse a recipe with errors, say its warnings, train it; returns where the run lies."""
    refuse_errors(recipe, base_folder, console)
    order = TrainOrder(base_folder=str(base_folder))
    layout = RunStore(home).create(recipe, order)
    console.say(f"Run folder: {layout.folder}")
    train(layout, order, console)
    return layout


def refuse_errors(recipe: Recipe, base_folder: Path, console: Console) -> None:
    """Say what is odd about a recipe and refuse what cannot work, before anything is written.

    Raises:
        RecipeInvalid: Settings contradict each other.
        FileUnusable: A file or folder that the recipe names is missing or not what it should be.
    """
    problems = check_recipe(recipe)
    for problem in problems:
        if problem.severity != "error":
            console.say(f"{problem.severity.capitalize()}: {problem}")
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise build_refusal(errors)
    for problem in check_recipe(recipe, base_folder=base_folder):
        if problem.severity == "error":
            raise FileUnusable(f"{problem.path}: {problem.message}", problem.remedy)


def train(layout: RunLayout, order: TrainOrder, console: Console) -> None:
    """Train in a child process and say what happens."""
    total_steps = 0

    def show(event: Event) -> None:
        nonlocal total_steps
        if isinstance(event, StepFinished):
            words = describe_step(event, total_steps)
            is_milestone = event.step % max(1, total_steps // MILESTONES) == 0 or event.step == 1
            (console.say if is_milestone else console.show_progress)(words)
        elif isinstance(event, PlanMade):
            total_steps = event.total_steps

    run_job(layout, order, console, show)


def describe_step(event: StepFinished, total_steps: int) -> str:
    """Return one step as a short line."""
    rate = event.tokens / event.seconds if event.seconds else 0.0
    return (
        f"step {event.step}/{total_steps}  loss {event.loss:.4f}  "
        f"rate {event.learning_rate:.1e}  {rate:,.0f} tokens/s"
    )


def report(layout: RunLayout, console: Console, home: Home) -> int:
    """Print the outcome of a run and return the exit code."""
    record = RunStore(home).find(str(layout.folder))
    if record.last_loss is not None and record.first_loss is not None:
        console.print(
            f"{record.name}: {record.status} after {record.step} steps in "
            f"{format_duration(record.trained_seconds)}, "
            f"loss {record.first_loss:.4f} -> {record.last_loss:.4f}"
        )
    console.print(f"Run folder: {layout.folder}")
    console.finish(summarise(record))
    return 0


def summarise(record: RunRecord) -> dict[str, Any]:
    """Return the facts that ``--json`` promises for a run."""
    return {
        "run_dir": str(record.folder),
        "id": record.id,
        "name": record.name,
        "status": record.status,
        "steps": record.step,
        "first_loss": record.first_loss,
        "last_loss": record.last_loss,
        "validation_loss": record.best_validation_loss,
        "best_step": record.best_step,
        "trainable_parameters": record.trainable_parameters,
        "tokens_per_second": record.tokens_per_second,
        "peak_memory_bytes": record.peak_memory_bytes,
    }
