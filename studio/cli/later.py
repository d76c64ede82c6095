"""Commands that the format knows and this version does not have; they say so and change nothing."""

from __future__ import annotations

import argparse

from studio.cli.console import Console
from studio.core.errors import NotAvailableYet
from studio.core.paths import Home

PLANNED = {
    "download": "fetch a model or data set from the hub",
}


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the planned commands; each takes anything and answers in words."""
    for name, purpose in PLANNED.items():
        parser = commands.add_parser(name, parents=[shared], help=f"{purpose} (not available yet)")
        parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
        parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Refuse in words, whatever the arguments.

    Raises:
        NotAvailableYet: Always.
    """
    raise NotAvailableYet(
        f"lora-studio {arguments.command} is not available yet.",
        "It comes with a later version; lora-studio --help lists what works today.",
    )
