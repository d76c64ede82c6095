"""``lora-studio push``: a verified export goes to the hub, after a question."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from studio.cli.console import Console
from studio.cli.jobs import run_job, short_lived
from studio.core.errors import RecipeInvalid, StudioError
from studio.core.events.types import Event, ExportProgressed, PushFinished
from studio.core.jobs.orders import PushOrder
from studio.core.network.gate import find_gate
from studio.core.paths import Home
from studio.core.units import format_bytes


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser("push", parents=[shared], help="upload an export to the hub")
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder that export wrote")
    parser.add_argument("--to", required=True, metavar="OWNER/NAME", help="repository on the hub")
    parser.add_argument(
        "--public", action="store_true", help="everybody may see it (default: only you)"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before uploading")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Show what would go up, ask, upload in a child job.

    Raises:
        StudioError: The network is closed, the hub refuses, or nobody agreed.
    """
    folder = arguments.folder.expanduser().resolve()
    find_gate(home).check(f"upload {arguments.to} to the hub")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        console.say(f"  {path.relative_to(folder).as_posix()}  {format_bytes(path.stat().st_size)}")
    seen_by = "everybody" if arguments.public else "only you"
    console.say(f"{len(files)} files go to {arguments.to} on the hub, to be seen by {seen_by}.")
    if not arguments.yes:
        confirm(console)
    found: list[PushFinished] = []

    def watch(event: Event) -> None:
        if isinstance(event, ExportProgressed):
            done, total = format_bytes(event.done_bytes), format_bytes(event.total_bytes)
            console.show_progress(f"{done} of {total}")
        elif isinstance(event, PushFinished):
            found.append(event)

    order = PushOrder(folder=str(folder), repository=arguments.to, is_private=not arguments.public)
    with short_lived(home) as layout:
        run_job(layout, order, console, watch)
    if not found:
        raise StudioError("The upload was stopped.", "Nothing can be seen in the repository.")
    console.print(found[0].url)
    console.finish({"url": found[0].url, "commit": found[0].commit})
    return 0


def confirm(console: Console) -> None:
    """Ask on the terminal; anything but y means no.

    Raises:
        RecipeInvalid: There is nobody to ask.
        StudioError: The answer was no.
    """
    if not sys.stdin.isatty():
        raise RecipeInvalid("There is nobody to ask whether to upload.", "Add --yes.")
    console.say("Upload? [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise StudioError("Nothing was uploaded.", code="stopped")
