"""``lora-studio check-export``: what other tools would refuse, before an export."""

from __future__ import annotations

import argparse
from typing import get_args

from studio.cli.console import Console
from studio.cli.export import find_adapter
from studio.cli.jobs import run_job, short_lived
from studio.core.errors import JobDied
from studio.core.events.types import Event, ExportChecked
from studio.core.jobs.orders import CheckExportOrder, ExportTool
from studio.core.jobs.remedies import REMEDIES
from studio.core.paths import Home
from studio.core.runs.exporting import read_export_details


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check-export", parents=[shared], help="say what other tools would refuse of an adapter"
    )
    parser.add_argument("what", metavar="RUN_OR_ADAPTER", help="a run, or an adapter folder")
    parser.add_argument("--base", help="folder of the base model, if the adapter does not name it")
    parser.add_argument(
        "--for", dest="tool", choices=get_args(ExportTool), help="this tool alone (default: all)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Check in a child job and print the findings; 1 if a tool would not load the files at all."""
    adapter, base = find_adapter(arguments.what, home)
    order = CheckExportOrder.model_validate(
        {
            "adapter": str(adapter),
            "base": arguments.base or base,
            "base_folder": read_export_details(adapter).get("base_folder"),
        }
    )
    found: list[ExportChecked] = []

    def watch(event: Event) -> None:
        if isinstance(event, ExportChecked):
            found.append(event)

    with short_lived(home) as layout:
        run_job(layout, order, console, watch)
    if not found:
        raise JobDied("The check ended without a result.", "Try again.")
    findings = [one for one in found[0].findings if arguments.tool in (None, one.tool)]
    for finding in findings:
        console.print(f"{finding.tool}, {finding.target}: {finding.message} {finding.advice}")
        for name in finding.remedies:
            console.print(f"  --remedy {name}: {REMEDIES[name].help}")
    for rank, loss in found[0].losses.items():
        console.print(f"Shrinking from rank {found[0].rank} to {rank} loses {loss:.1%}.")
    if not findings:
        console.print("Nothing speaks against it.")
    console.finish(found[0].model_dump(exclude={"time_seconds"}))
    return 1 if any(finding.is_fatal for finding in findings) else 0
