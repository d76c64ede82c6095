"""``lora-studio inside``: what adapters change in each layer, and how alike they are."""

from __future__ import annotations

import argparse

from studio.cli.console import Console
from studio.cli.export import find_adapter
from studio.cli.generate import name_columns
from studio.cli.jobs import run_job, short_lived
from studio.core.events.measures import AdapterMeasured, SimilarityMeasured
from studio.core.events.types import Event
from studio.core.jobs.orders import InsideOrder
from studio.core.paths import Home


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "inside", parents=[shared], help="show what adapters change in each layer"
    )
    parser.add_argument("adapter", nargs="+", help="adapter folder or run; several are compared")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Measure in a child job and print a line per layer."""
    folders = [find_adapter(text, home)[0] for text in arguments.adapter]
    measured: list[AdapterMeasured] = []
    similar: list[SimilarityMeasured] = []

    def watch(event: Event) -> None:
        if isinstance(event, AdapterMeasured):
            measured.append(event)
        elif isinstance(event, SimilarityMeasured):
            similar.append(event)

    with short_lived(home) as layout:
        run_job(layout, InsideOrder(adapters=name_columns(folders)), console, watch)
    for one in measured:
        console.print(f"{one.adapter}: size of the update, directions it uses of its rank")
        for module in one.modules:
            used = f"{module.effective_rank:.1f} of {module.rank}"
            console.print(f"  {module.norm:10.4g}  {used:>12}  {module.name}")
    for pair in similar:
        console.print(f"likeness of {pair.adapter} and {pair.other} (cosine): {pair.cosine:.3f}")
    console.finish(
        {
            "adapters": {
                one.adapter: [module.model_dump() for module in one.modules] for one in measured
            },
            "similarities": [one.model_dump(exclude={"time_seconds"}) for one in similar],
        }
    )
    return 0
