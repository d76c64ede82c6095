"""``lora-studio download``: a model or data set of the hub onto this machine."""

from __future__ import annotations

import argparse

from studio.cli.console import Console
from studio.cli.jobs import run_job, short_lived
from studio.core.errors import RecipeInvalid, StudioError
from studio.core.events.types import DownloadFinished, DownloadProgressed, Event, RunStopped
from studio.core.hub.names import get_repository, is_revision
from studio.core.jobs.orders import DownloadOrder
from studio.core.network.gate import find_gate
from studio.core.paths import Home
from studio.core.units import format_bytes


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "download", parents=[shared], help="fetch a model or data set from the hub"
    )
    parser.add_argument("name", help="owner/name on the hub, or the address of its page")
    parser.add_argument(
        "--data",
        action="store_true",
        help="it is a data set (default: a model of that name, else a data set)",
    )
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit (main)")
    parser.add_argument(
        "--only", default="", metavar="PART", help="only this folder or pattern of a data set"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Fetch it in a child job; a second call goes on where the first one ended.

    Raises:
        StudioError: The network is closed or fails, the hub refuses, or the user stopped it.
    """
    repository = get_repository(arguments.name, "dataset" if arguments.data else "model")
    is_data = repository.kind == "dataset"
    if arguments.revision is not None and not is_revision(arguments.revision):
        raise RecipeInvalid(
            f"{arguments.revision!r} is no branch, tag or commit.",
            "Leave --revision out, or copy it from the page of the repository.",
        )
    find_gate(home).check(f"download {repository.name}")
    finished: list[DownloadFinished] = []
    stopped: list[RunStopped] = []

    def show(event: Event) -> None:
        if isinstance(event, DownloadProgressed):
            done, total = format_bytes(event.done_bytes), format_bytes(event.total_bytes)
            console.show_progress(f"{done} of {total}: {event.path}")
        elif isinstance(event, DownloadFinished):
            finished.append(event)
        elif isinstance(event, RunStopped):
            stopped.append(event)

    order = DownloadOrder(
        repository="dataset" if is_data else None,
        name=repository.name,
        revision=arguments.revision,
        only=arguments.only,
    )
    with short_lived(home) as layout:
        run_job(layout, order, console, show)
    if not finished:
        raise StudioError(
            "The download was stopped.",
            "What has arrived is kept: the same command goes on from there.",
            code="stopped" if stopped else "failed",
        )
    console.print(finished[0].folder)
    console.finish({"path": finished[0].folder, "revision": finished[0].revision})
    return 0
