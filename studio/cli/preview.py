"""``lora-studio preview``: rows of the training data as the model will see them."""

from __future__ import annotations

import argparse
from pathlib import Path

from studio.cli.console import Console
from studio.cli.jobs import run_job, short_lived
from studio.core.events.types import DataProblemFound, Event, RowPreviewed
from studio.core.jobs.orders import PreviewOrder
from studio.core.paths import Home
from studio.core.recipe.load import load_recipe
from studio.core.recipe.save import save_recipe


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "preview", parents=[shared], help="show which tokens will be trained"
    )
    parser.add_argument("recipe", type=Path, help="recipe file (YAML)")
    parser.add_argument("--rows", type=int, default=5, metavar="N", help="how many rows (5)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Render rows in a child job; print them with the trained parts in brackets."""
    recipe = load_recipe(arguments.recipe)
    base_folder = arguments.recipe.expanduser().resolve().parent
    rows: list[RowPreviewed] = []
    problems: list[DataProblemFound] = []

    def collect(event: Event) -> None:
        if isinstance(event, RowPreviewed):
            rows.append(event)
        elif isinstance(event, DataProblemFound):
            problems.append(event)

    with short_lived(home) as layout:
        save_recipe(recipe, layout.recipe)
        order = PreviewOrder(base_folder=str(base_folder), rows=max(1, arguments.rows))
        run_job(layout, order, console, collect)
    for row in rows:
        console.print(f"--- row {row.row + 1} of {row.source}: {len(row.ids)} tokens")
        console.print(mark_trained(row))
    for problem in problems:
        console.print(f"{problem.rows} rows: {problem.message} {problem.remedy}".rstrip())
    console.finish(
        {
            "rows": [row.model_dump(exclude={"time_seconds"}) for row in rows],
            "lengths": [len(row.ids) + row.truncated_tokens for row in rows],
            "problems": [problem.model_dump(exclude={"time_seconds"}) for problem in problems],
        }
    )
    return 1 if any(problem.is_fatal for problem in problems) else 0


def mark_trained(row: RowPreviewed) -> str:
    """Return the row's text with every trained stretch between [[ and ]]."""
    parts: list[str] = []
    is_inside = False
    for text, is_trained in zip(row.texts, row.supervised, strict=True):
        if is_trained != is_inside:
            parts.append("[[" if is_trained else "]]")
            is_inside = is_trained
        parts.append(text)
    return "".join(parts) + ("]]" if is_inside else "")
