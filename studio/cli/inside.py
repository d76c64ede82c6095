"""``lora-studio inside``: what adapters change in each layer, and how alike they are."""

from __future__ import annotations

import argparse
from pathlib import Path

from studio.cli.console import Console
from studio.cli.export import find_adapter
from studio.cli.generate import name_columns
from studio.cli.jobs import run_job, short_lived
from studio.core.events.measures import AdapterMeasured, SimilarityMeasured
from studio.core.events.types import Event
from studio.core.files import write_atomically
from studio.core.inside.measures import format_look, get_value
from studio.core.inside.tables import build_modules_csv
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
    parser.add_argument(
        "--base", default="", help="folder of the base, where it is not the one the adapter names"
    )
    parser.add_argument("--csv", type=Path, help="also write all numbers to this CSV file")
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

    order = InsideOrder(adapters=name_columns(folders), base=arguments.base)
    with short_lived(home) as layout:
        run_job(layout, order, console, watch)
    for one in measured:
        _print_adapter(one, console)
    for pair in similar:
        console.print(f"likeness of {pair.adapter} and {pair.other} (cosine): {pair.cosine:.3f}")
    if arguments.csv is not None:
        write_atomically(arguments.csv, build_modules_csv(measured))
    console.finish(
        {
            "adapters": {
                one.adapter: [
                    module.model_dump() | {"relative_norm": module.relative_norm}
                    for module in one.modules
                ]
                for one in measured
            },
            "similarities": [one.model_dump(exclude={"time_seconds"}) for one in similar],
        }
    )
    return 0


def _print_adapter(one: AdapterMeasured, console: Console) -> None:
    console.print(f"{one.adapter}: size of the update, share of the weight, directions it uses")
    for module in one.modules:
        share = format_look("relative_norm", get_value("relative_norm", [module]))
        used = f"{module.effective_rank:.1f} of {module.rank}"
        console.print(f"  {module.norm:10.4g}  {share:>8}  {used:>12}  {module.name}")
