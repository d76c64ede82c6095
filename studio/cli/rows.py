"""``lora-studio rows``: what single rows of a run cost, and which look wrong."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from studio.cli.console import Console
from studio.cli.jobs import run_job, short_lived
from studio.core.errors import DatasetInvalid, RecipeInvalid
from studio.core.events.types import Event, RowRead
from studio.core.jobs.orders import ReadRowsOrder
from studio.core.microscope.exclusion import build_recipe_without
from studio.core.microscope.report import ReportReader, RowReport, list_places, save_csv
from studio.core.microscope.stories import LISTS, RowList, RowStory
from studio.core.paths import Home
from studio.core.recipe.save import save_recipe
from studio.core.runs.exporting import find_base_folder
from studio.core.runs.layout import RunLayout
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore

_HELP: dict[RowList, str] = {
    "worst": "the rows with the highest loss when they were last seen (default: 20)",
    "suspects": "rows whose answer may be wrong: the model prefers another one again and again",
    "forgotten": "rows that were learnt and lost again",
    "never_learnt": "rows whose loss hardly fell while that of others did",
}
_USUAL = 20


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "rows", parents=[shared], help="show which rows of a run were not learnt or look wrong"
    )
    parser.add_argument("which", metavar="RUN", help="name, id or folder of the run")
    lists = parser.add_mutually_exclusive_group()
    for name in LISTS:
        option = f"--{name.replace('_', '-')}"
        lists.add_argument(
            option, type=int, nargs="?", const=_USUAL, metavar="N", help=_HELP[name], dest=name
        )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all rows of the list there")
    parser.add_argument(
        "--without",
        type=Path,
        metavar="RECIPE",
        help="write a recipe there that trains without the rows shown; no data file is changed",
    )
    parser.add_argument(
        "--go-on", action="store_true", help="with --without: begin with the run's adapter"
    )
    parser.add_argument("--no-text", action="store_true", help="do not read the rows' text")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Print a list of rows with their losses; the text comes from the user's files."""
    store = RunStore(home)
    record = store.find(arguments.which)
    name, most = _choose(arguments)
    report = ReportReader(record.folder).read()
    if not report.stories:
        raise DatasetInvalid(
            f"The run {record.name} kept nothing about single rows.",
            "Train again with train.keep_row_losses switched on; older runs did not keep it.",
        )
    shown = report.pick(name, most)
    texts = {} if arguments.no_text else _read_texts(record, report, shown, console, home)
    rows = [_describe(report, one, texts.get(one.document)) for one in shown]
    for row in rows:
        console.print(_line(row))
    counts = ", ".join(f"{count:,} {key.replace('_', ' ')}" for key, count in report.counts.items())
    console.print(f"{len(report.stories):,} rows were trained on; lists: {counts}.")
    if arguments.csv:
        save_csv(report, report.pick(name), arguments.csv)
        console.say(f"Written: {arguments.csv}")
    if arguments.without:
        _write_recipe(arguments, store, record, rows)
        console.say(f"Written: {arguments.without}. Train it with: lora-studio train")
    console.finish(
        {"run": record.id, "list": name, "rows": rows, "counts": report.counts,
         "trained_rows": len(report.stories)}
    )  # fmt: skip
    return 0


def _choose(arguments: argparse.Namespace) -> tuple[RowList, int]:
    for name in LISTS:
        count = getattr(arguments, name)
        if count is not None:
            if count < 1:
                raise RecipeInvalid("The number of rows has to be at least 1.", "Give another one.")
            return name, count
    return "worst", _USUAL


def _read_texts(
    record: RunRecord,
    report: RowReport,
    stories: list[RowStory],
    console: Console,
    home: Home,
) -> dict[int, RowRead]:
    """Return the rows' texts, read in a child job as all foreign files are."""
    places = list_places(report, stories)
    found: dict[int, RowRead] = {}

    def keep(event: Event) -> None:
        if isinstance(event, RowRead):
            found[event.document] = event

    if places:
        with short_lived(home) as layout:
            order = ReadRowsOrder(run=str(record.folder), rows=places)
            run_job(layout, order, console, keep)
    return found


def _describe(report: RowReport, one: RowStory, read: RowRead | None) -> dict[str, Any]:
    origin = report.find_origin(one)
    return {
        "file": "" if origin is None else report.name_source(origin),
        "row": None if origin is None else origin.number,
        "line": (origin.line or None) if origin is not None else None,
        "piece": None if origin is None else origin.piece + 1,
        "mark": "" if origin is None else origin.mark,
        "losses": [round(loss, 4) for loss in one.losses],
        "shortfall": round(one.shortfall, 4),
        "suspicion": round(one.suspicion, 2),
        "is_suspect": one.is_suspect,
        "forgotten": one.forgotten,
        "is_never_learnt": one.is_never_learnt,
        "prompt": None if read is None else read.prompt,
        "answer": None if read is None else read.answer,
        "is_changed": None if read is None else read.is_changed,
        "message": None if read is None else read.message,
    }


def _line(row: dict[str, Any]) -> str:
    losses = " ".join(f"{loss:.2f}" for loss in row["losses"][-5:])
    words = " | ".join(" ".join(str(row[key] or "").split()) for key in ("prompt", "answer"))
    place = f"{Path(row['file']).name}:{row['row']}"
    return f"{place:24s} {losses:>30s}  {words[:100]}".rstrip(" |")


def _write_recipe(
    arguments: argparse.Namespace, store: RunStore, record: RunRecord, rows: list[dict[str, Any]]
) -> None:
    base_folder = Path(find_base_folder(RunLayout(record.folder)) or record.folder)
    adapter = Path(record.adapter_folder) if record.adapter_folder else None
    if arguments.go_on and adapter is None:
        raise RecipeInvalid(
            f"The run {record.name} has no adapter to begin with.", "Leave --go-on out."
        )
    recipe = build_recipe_without(
        store.load_recipe(record),
        [row["mark"] for row in rows if row["mark"]],
        base_folder,
        adapter if arguments.go_on else None,
    )
    save_recipe(recipe, arguments.without)
