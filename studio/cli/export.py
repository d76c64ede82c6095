"""``lora-studio export``: files that other tools load, verified before they are called done."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from studio.cli.console import Console
from studio.cli.hand_over import add_place_options, hand_over
from studio.cli.jobs import run_job, short_lived
from studio.core.errors import AdapterUnusable, FileUnusable, JobDied, RecipeInvalid
from studio.core.events.types import Event, ExportFinished, ExportProgressed
from studio.core.jobs.orders import (
    ExpertLayout,
    ExportOrder,
    ExportTool,
    HandOverOrder,
    MergeBase,
    QuantKind,
)
from studio.core.jobs.remedies import REMEDIES, apply_remedy
from studio.core.paths import Home, slug
from studio.core.programs.ollama import check_name
from studio.core.runs.exporting import find_base, read_export_details
from studio.core.runs.layout import RunLayout
from studio.core.runs.store import RunStore
from studio.core.units import format_bytes

TARGETS = {
    "adapter": "adapter",
    "merged": "merged",
    "gguf": "gguf",
    "gguf-lora": "gguf_lora",
    "ollama": "ollama",
    "capsule": "capsule",
}

MERGING = ("merged", "gguf", "ollama")


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser("export", parents=[shared], help="write files for other tools")
    parser.add_argument("what", metavar="RUN_OR_ADAPTER", help="a run, or an adapter folder")
    parser.add_argument("--to", required=True, choices=TARGETS, dest="target", help="kind of file")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="new folder")
    parser.add_argument(
        "--keep-zeros",
        action="store_true",
        help="merged: leave the zeros of a pruned base as they are",
    )
    parser.add_argument(
        "--onto",
        choices=get_args(MergeBase),
        default="original",
        help="what an adapter trained over a base in 4 or 8 bits is joined with: the original "
        "weights, or the values they had in training (default: %(default)s)",
    )
    parser.add_argument(
        "--experts",
        choices=get_args(ExpertLayout),
        default="kept",
        help="adapter: how its file holds the matrices of experts; other tools may know only one "
        "way (default: as they are)",
    )
    parser.add_argument("--base", help="folder of the base model, if the adapter does not name it")
    parser.add_argument(
        "--quant",
        type=str.lower,
        choices=get_args(QuantKind),
        default="q8_0",
        help="number format of a GGUF file; smaller ones are less exact (default: %(default)s)",
    )
    parser.add_argument(
        "--for",
        dest="tool",
        choices=get_args(ExportTool),
        help="the tool that will load the files: says first what it would refuse",
    )
    _add_tool_options(parser)
    parser.set_defaults(run=run)


def _add_tool_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--remedy",
        action="append",
        default=[],
        choices=REMEDIES,
        metavar="NAME",
        help="what to do about what a tool would refuse (check-export lists it): "
        f"{', '.join(REMEDIES)}; several",
    )
    parser.add_argument(
        "--create", metavar="NAME", help="ollama: make a model of this name in Ollama right away"
    )
    parser.add_argument(
        "--into-lm-studio",
        metavar="NAME",
        help="gguf: put the file into LM Studio's folder of models under this name",
    )
    add_place_options(parser)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Export in a child job and print the files; 1 if the check of the result failed."""
    adapter, base = find_adapter(arguments.what, home)
    target = TARGETS[arguments.target]
    for remedy in arguments.remedy:
        target = REMEDIES[remedy].target or target
    program, model = find_program(arguments, target)
    if arguments.base and Path(arguments.base).expanduser().is_dir():
        base = str(Path(arguments.base).expanduser().resolve())
    elif arguments.base:
        base = arguments.base
    finished = export(
        adapter,
        base,
        target,
        arguments.out,
        console,
        home,
        remedies=arguments.remedy,
        quant=arguments.quant,
        tool=arguments.tool,
        keeps_zeros=arguments.keep_zeros and target == "merged",
        onto=arguments.onto if target in MERGING else "original",
        experts=arguments.experts if target == "adapter" else "kept",
        name=slug(Path(arguments.what).name),
        **read_export_details(adapter),
    )
    for name in finished.files:
        console.print(str(Path(finished.folder) / name))
    difference = finished.largest_difference
    words = "" if difference is None else f" (largest difference of the logits: {difference:.1e})"
    console.print(f"{'Verified' if finished.is_verified else 'NOT verified'}{words}")
    if finished.prompts:
        console.print(f"  Asked: {finished.prompts}")
    for reason in finished.reasons:
        console.print(f"  {reason}")
    given = None
    if model and finished.is_verified:
        given = _hand_over(finished.folder, program, model, arguments, console, home)
    console.finish(
        {
            "handed_over": given,
            "files": [str(Path(finished.folder) / name) for name in finished.files],
            "certificate": {
                "path": finished.certificate,
                "engine": finished.engine,
                "largest_difference": difference,
                "mean_divergence": finished.mean_divergence,
                "equal_fraction": finished.equal_fraction,
                "reasons": list(finished.reasons),
            },
            "verified": finished.is_verified,
        }
    )
    return 0 if finished.is_verified else 1


def _hand_over(
    folder: str,
    program: str,
    name: str,
    arguments: argparse.Namespace,
    console: Console,
    home: Home,
) -> Mapping[str, Any]:
    order = HandOverOrder.model_validate(
        {
            "folder": folder,
            "program": program,
            "name": name,
            "place": arguments.place,
            "replaces": arguments.replace,
        }
    )
    return hand_over(order, console, home)


def find_program(arguments: argparse.Namespace, target: str) -> tuple[str, str | None]:
    """Return which program gets the files afterwards, and the model's name there if any does.

    Raises:
        RecipeInvalid: The program does not take files of this kind, or no such name.
    """
    if arguments.create is not None:
        if target != "ollama":
            raise RecipeInvalid("--create makes a model in Ollama.", "Add --to ollama.")
        check_name(arguments.create)
        return "ollama", arguments.create
    if arguments.into_lm_studio is not None and target not in ("gguf", "ollama"):
        raise RecipeInvalid("LM Studio loads whole GGUF files alone.", "Add --to gguf.")
    return "lm_studio", arguments.into_lm_studio


def export(
    adapter: Path,
    base: str | None,
    target: str,
    out: Path,
    console: Console,
    home: Home,
    remedies: Sequence[str] = (),
    **details: object,
) -> ExportFinished:
    """Run the export job; returns what it wrote. ``details`` are further fields of the order.

    ``remedies`` are names of what changes it.

    Raises:
        StudioError: The export failed; nothing is left under ``out``.
    """
    found: list[ExportFinished] = []

    def watch(event: Event) -> None:
        if isinstance(event, ExportProgressed):
            done, total = format_bytes(event.done_bytes), format_bytes(event.total_bytes)
            console.show_progress(f"{done} of {total}")
        elif isinstance(event, ExportFinished):
            found.append(event)

    order = ExportOrder.model_validate(
        {
            "adapter": str(adapter),
            "base": base,
            "target": target,
            "out": str(out.expanduser().resolve()),
            **details,
        }
    )
    for remedy in remedies:
        order = apply_remedy(order, remedy)
    with short_lived(home) as layout:
        run_job(layout, order, console, watch)
    if not found:
        raise JobDied("The export ended without a result.", "Try again; nothing was written.")
    return found[0]


def find_adapter(text: str, home: Home) -> tuple[Path, str | None]:
    """Return the adapter folder that a path, run id or run name means, and the base if known.

    Raises:
        StudioError: Nothing of that name, or a run without an adapter.
    """
    folder = Path(text).expanduser()
    if (folder / "adapter_config.json").is_file():
        return folder.resolve(), None
    store = RunStore(home)
    try:
        record = store.find(text)
    except FileUnusable as error:
        raise AdapterUnusable(
            f"{text} is neither a run nor a folder with an adapter.",
            "List the runs with: lora-studio runs list",
        ) from error
    adapter = RunLayout(Path(record.folder)).adapter
    if not (adapter / "adapter_config.json").is_file():
        raise AdapterUnusable(
            f"The run {record.name} has no finished adapter yet.",
            f"Let it finish first: lora-studio resume {record.id}",
        )
    return adapter, find_base(RunLayout(record.folder))
