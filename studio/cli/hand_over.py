"""``lora-studio hand-over``: a verified export becomes a model in Ollama or LM Studio."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.cli.console import Console
from studio.cli.jobs import run_job, short_lived
from studio.core.errors import StudioError
from studio.core.events.types import Event, ExportProgressed, HandedOver
from studio.core.jobs.orders import HandOverOrder
from studio.core.paths import Home
from studio.core.programs.words import describe_hand_over
from studio.core.units import format_bytes

PROGRAMS = {"ollama": "ollama", "lm-studio": "lm_studio"}


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "hand-over", parents=[shared], help="give an export to Ollama or LM Studio on this machine"
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder that export wrote")
    parser.add_argument("--to", required=True, choices=PROGRAMS, dest="program", help="the program")
    parser.add_argument("--name", required=True, help="what the model is called there")
    add_place_options(parser)
    parser.set_defaults(run=run)


def add_place_options(parser: argparse.ArgumentParser) -> None:
    """Add what says where the other programs are."""
    parser.add_argument(
        "--place",
        default="",
        metavar="WHERE",
        help="address of Ollama, or LM Studio's folder of models (default: as in the settings, "
        "else where they usually are)",
    )
    parser.add_argument(
        "--replace", action="store_true", help="Ollama: replace a model of that name"
    )


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Hand over in a child job; print what came of it."""
    order = HandOverOrder.model_validate(
        {
            "folder": str(arguments.folder.expanduser().resolve()),
            "program": PROGRAMS[arguments.program],
            "name": arguments.name,
            "place": arguments.place,
            "replaces": arguments.replace,
        }
    )
    console.finish(hand_over(order, console, home))
    return 0


def hand_over(order: HandOverOrder, console: Console, home: Home) -> Mapping[str, Any]:
    """Run the job, print its result and return it for programs.

    Raises:
        StudioError: The program is not there or refuses; the export is unharmed.
    """
    found: list[HandedOver] = []

    def watch(event: Event) -> None:
        if isinstance(event, ExportProgressed):
            done, total = format_bytes(event.done_bytes), format_bytes(event.total_bytes)
            console.show_progress(f"{done} of {total}")
        elif isinstance(event, HandedOver):
            found.append(event)

    with short_lived(home) as layout:
        run_job(layout, order, console, watch)
    if not found:
        raise StudioError("It was stopped.", "The exported files are unharmed.", code="stopped")
    words = describe_hand_over(found[0])
    console.print(words.details)
    if found[0].question:
        console.print(f"  Asked:    {found[0].question}")
        console.print(f"  Expected: {found[0].expected}")
        console.print(f"  Answered: {found[0].answer}")
    return found[0].model_dump(exclude={"time_seconds"}) | {"verdict": words.verdict}
