"""``lora-studio prune``: a copy of a base model in which many weights are zero."""

from __future__ import annotations

import argparse
from pathlib import Path

from studio.cli.console import Console
from studio.cli.jobs import run_job, short_lived
from studio.core.errors import JobDied, RecipeInvalid
from studio.core.events.types import Event, ExportProgressed, PruneFinished
from studio.core.jobs.orders import PruneOrder
from studio.core.paths import Home
from studio.core.units import format_bytes


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "prune", parents=[shared], help="write a copy of a model with zeros in its linear layers"
    )
    parser.add_argument("model", help="model folder, or a model that is already on this machine")
    parser.add_argument(
        "--pattern",
        choices=("magnitude", "two_four"),
        default="magnitude",
        help="magnitude: the smallest weights of each output; two_four: two of each four "
        "neighbours, the arrangement that NVIDIA cards compute fast",
    )
    parser.add_argument(
        "--sparsity", type=float, default=0.5, help="share of the weights that become zero"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="new folder")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Prune in a child job and print where the copy is."""
    if not 0 < arguments.sparsity < 1:
        raise RecipeInvalid("--sparsity must lie between 0 and 1.", "Try 0.5.")
    folder = Path(arguments.model).expanduser()
    order = PruneOrder(
        base=str(folder.resolve()) if folder.exists() else arguments.model,
        pattern=arguments.pattern,
        sparsity=arguments.sparsity,
        out=str(arguments.out.expanduser().resolve()),
    )
    found: list[PruneFinished] = []

    def watch(event: Event) -> None:
        if isinstance(event, ExportProgressed):
            done, total = format_bytes(event.done_bytes), format_bytes(event.total_bytes)
            console.show_progress(f"{done} of {total}")
        elif isinstance(event, PruneFinished):
            found.append(event)

    with short_lived(home) as layout:
        run_job(layout, order, console, watch)
    if not found:
        raise JobDied("Pruning ended without a result.", "Try again; nothing was written.")
    result = found[0]
    fraction = result.zeros / result.weights
    console.print(result.folder)
    console.print(f"{fraction:.1%} of the weights in {result.modules} layers are zero")
    console.finish(
        {"model_dir": result.folder, "modules": result.modules, "zero_fraction": fraction}
    )
    return 0
