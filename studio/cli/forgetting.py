"""``lora-studio forgetting``: does the base's knowledge survive under the adapters."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from studio.cli.console import Console
from studio.cli.export import find_adapter
from studio.cli.generate import name_columns
from studio.cli.jobs import FORM_HELP, run_job, short_lived
from studio.core.events.measures import ProbeAnswered
from studio.core.events.types import Event
from studio.core.files import write_atomically
from studio.core.forgetting.probes import AREAS, Probe, load_own_probes, load_probes
from studio.core.forgetting.report import ReportStore, build_report, write_report
from studio.core.forgetting.verdict import (
    REMEDY,
    AreaVerdict,
    describe_outcome,
    describe_verdict,
)
from studio.core.jobs.orders import ForgettingOrder
from studio.core.paths import Home
from studio.core.weights.quantisable import BASE_FORMS


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "forgetting", parents=[shared], help="check what an adapter made its base forget"
    )
    parser.add_argument("--base", required=True, help="folder of the base model")
    parser.add_argument(
        "--adapter", action="append", required=True, help="adapter folder or run; several"
    )
    parser.add_argument(
        "--prompt",
        action="append",
        default=[],
        metavar="TEXT",
        help="a prompt of your own that must still work; several. Those kept in the window are "
        "asked as well",
    )
    parser.add_argument(
        "--area", action="append", choices=tuple(AREAS), help="only these areas; several"
    )
    parser.add_argument("--quantisation", choices=tuple(BASE_FORMS), default="auto", help=FORM_HELP)
    parser.add_argument("--max-tokens", type=int, default=64, metavar="N", help="answer length")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the result there (.md or .csv)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Check in a child job and print a line per area."""
    base = Path(arguments.base).expanduser()
    own = tuple(Probe(prompt=text) for text in arguments.prompt)
    probes = [
        probe
        for probe in (*own, *load_own_probes(home), *load_probes())
        if arguments.area is None or probe.area in arguments.area
    ]
    order = ForgettingOrder.model_validate(
        {
            "base": str(base.resolve()) if base.exists() else arguments.base,
            "adapters": name_columns([find_adapter(text, home)[0] for text in arguments.adapter]),
            "probes": [probe.model_dump() for probe in probes],
            "max_new_tokens": max(1, arguments.max_tokens),
            "quantisation": arguments.quantisation,
        }
    )
    answered = check(order, console, home)
    report = build_report(order, answered)
    kept = ReportStore(home).save(report)
    if arguments.out is not None:
        kind = "csv" if arguments.out.suffix.lower() == ".csv" else "md"
        write_atomically(arguments.out.expanduser(), write_report(report, kind))
    verdicts = report.verdicts
    _print(verdicts, console)
    severity, words = describe_outcome(verdicts)
    console.print(words)
    if severity == "error":
        console.print(REMEDY)
    console.finish(
        {
            "is_broken": severity == "error",
            "file": str(kept),
            "verdicts": [vars(one) | {"lost": one.lost} for one in verdicts],
            "probes": [one.model_dump(exclude={"time_seconds"}) for one in answered],
        }
    )
    return 0


def check(order: ForgettingOrder, console: Console, home: Home) -> list[ProbeAnswered]:
    """Run the forgetting job; return what was answered.

    Raises:
        StudioError: The job failed.
    """
    answered: list[ProbeAnswered] = []

    def watch(event: Event) -> None:
        if isinstance(event, ProbeAnswered):
            answered.append(event)
            console.show_progress(f"{event.done_probes} of {event.total_probes} prompts")

    with short_lived(home) as layout:
        run_job(layout, order, console, watch)
    return answered


def _print(verdicts: Sequence[AreaVerdict], console: Console) -> None:
    column = ""
    for verdict in sorted(verdicts, key=lambda one: one.column):
        if verdict.column != column:
            column = verdict.column
            console.print(f"{column}:")
        mark = {"broken": "!", "changed": "~", "kept": " ", "unknown": "?"}[verdict.state]
        console.print(f"  {mark} {describe_verdict(verdict)} (KL {verdict.divergence:.3f})")
