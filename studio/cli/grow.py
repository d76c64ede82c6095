"""``lora-studio grow``: a copy of a base model whose vocabulary has new tokens."""

from __future__ import annotations

import argparse
from pathlib import Path

from studio.cli.console import Console
from studio.cli.jobs import run_job, short_lived
from studio.core.errors import JobDied
from studio.core.events.types import Event, ExportProgressed, ModelGrown
from studio.core.jobs.orders import GrowOrder
from studio.core.paths import Home
from studio.core.units import format_bytes


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "grow", parents=[shared], help="write a copy of a model that knows new tokens"
    )
    parser.add_argument("model", help="model folder, or a model that is already on this machine")
    parser.add_argument(
        "--token",
        action="append",
        required=True,
        metavar="TEXT",
        help="a new token, for example '<tool>'; several. Name them in the recipe under "
        "adapter.trained_tokens, so that their vectors are learnt",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="new folder")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Grow in a child job and print where the copy is."""
    folder = Path(arguments.model).expanduser()
    order = GrowOrder(
        base=str(folder.resolve()) if folder.exists() else arguments.model,
        tokens=tuple(arguments.token),
        out=str(arguments.out.expanduser().resolve()),
    )
    found: list[ModelGrown] = []

    def watch(event: Event) -> None:
        if isinstance(event, ExportProgressed):
            done, total = format_bytes(event.done_bytes), format_bytes(event.total_bytes)
            console.show_progress(f"{done} of {total}")
        elif isinstance(event, ModelGrown):
            found.append(event)

    with short_lived(home) as layout:
        run_job(layout, order, console, watch)
    if not found:
        raise JobDied("The job ended without a result.", "Try again; nothing was written.")
    console.print(found[0].folder)
    console.finish({"model_dir": found[0].folder, "tokens": list(found[0].tokens)})
    return 0
