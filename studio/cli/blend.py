"""``lora-studio blend``: several adapters mixed into one, or one shrunk to a smaller rank."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from studio.cli.console import Console
from studio.cli.export import find_adapter
from studio.cli.jobs import run_job, short_lived
from studio.core.errors import JobDied, RecipeInvalid
from studio.core.events.measures import BlendFinished, BlendProgressed
from studio.core.events.types import Event
from studio.core.jobs.orders import BlendOrder
from studio.core.paths import Home
from studio.core.weights.gains import parse_gain


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser("blend", parents=[shared], help="mix several adapters into one")
    parser.add_argument(
        "--adapter",
        action="append",
        required=True,
        metavar="ADAPTER=WEIGHT",
        help="adapter folder or run and how strongly it counts (1 if left out); several",
    )
    parser.add_argument(
        "--method",
        choices=("linear", "svd", "ties", "dare"),
        default="linear",
        help="linear: the exact sum; svd: the sum, to a smaller rank; ties, dare: only part of "
        "each adapter, so that they disturb each other less",
    )
    parser.add_argument("--rank", type=int, metavar="N", help="rank of the result (not for linear)")
    parser.add_argument(
        "--density", type=float, default=0.5, help="share of each adapter that ties and dare keep"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides what dare drops")
    parser.add_argument(
        "--layers",
        action="append",
        default=[],
        metavar="LAYERS=X",
        help="strength of all adapters in some layers: 0-11=0.5, attention=0 or 0-11:mlp=0.5; "
        "several are multiplied",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="new folder")
    parser.add_argument(
        "--name", metavar="NAME", help="let the mix join the runs under this name (or with --out)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Mix in a child job and print where the new adapter is."""
    if arguments.rank is not None and arguments.rank < 1:
        raise RecipeInvalid("--rank must be at least 1.", "Leave it out for the sum of the ranks.")
    if not 0 < arguments.density <= 1:
        raise RecipeInvalid("--density must be more than 0 and at most 1.", "Try 0.5.")
    if arguments.out is None and arguments.name is None:
        raise RecipeInvalid("The mix has no place to go.", "Give --out DIR, --name NAME or both.")
    parts = [read_part(text, home) for text in arguments.adapter]
    gains = [parse_gain(text) for text in arguments.layers]
    order = BlendOrder.model_validate(
        {
            "parts": [
                {"adapter": str(folder), "weight": weight, "gains": gains}
                for folder, weight in parts
            ],
            "method": arguments.method,
            "rank": arguments.rank,
            "density": arguments.density,
            "seed": arguments.seed,
            "out": arguments.out and str(arguments.out.expanduser().resolve()),
            "home": arguments.name and str(home.folder),
            "name": arguments.name or "Mix",
        }
    )
    finished = blend(order, console, home)
    console.print(finished.folder)
    console.print(f"rank {finished.rank}, {finished.modules} layers")
    if finished.error_fraction:
        console.print(f"not held by this rank: {finished.error_fraction:.1%} of the update")
    console.finish(
        {
            "adapter_dir": finished.folder,
            "run_dir": finished.run,
            "rank": finished.rank,
            "modules": finished.modules,
            "error_fraction": finished.error_fraction,
        }
    )
    return 0


def blend(order: BlendOrder, console: Console, home: Home) -> BlendFinished:
    """Run the blend job; return what it wrote.

    Raises:
        StudioError: The adapters cannot be mixed; nothing is left at the target.
    """
    found: list[BlendFinished] = []

    def watch(event: Event) -> None:
        if isinstance(event, BlendProgressed):
            console.show_progress(f"{event.done_modules} of {event.total_modules} layers")
        elif isinstance(event, BlendFinished):
            found.append(event)

    with short_lived(home) as layout:
        run_job(layout, order, console, watch)
    if not found:
        raise JobDied("The blend ended without a result.", "Try again; nothing was written.")
    return found[0]


def read_part(text: str, home: Home) -> tuple[Path, float]:
    """Return the adapter folder and the weight that ``ADAPTER=WEIGHT`` names.

    Raises:
        RecipeInvalid: The weight is no number.
        StudioError: There is no such adapter.
    """
    name, mark, number = text.rpartition("=")
    if not mark or (Path(text).expanduser() / "adapter_config.json").is_file():
        return find_adapter(text, home)[0], 1.0
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise RecipeInvalid(
            f"--adapter {text}: {number!r} is no number.", "Write it as FOLDER=0.7, for example."
        )
    return find_adapter(name, home)[0], weight
