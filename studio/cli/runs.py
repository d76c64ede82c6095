"""``lora-studio runs``: the history of runs."""

from __future__ import annotations

import argparse

from studio.cli.console import Console
from studio.cli.train import summarise
from studio.core.paths import Home
from studio.core.recipe.save import dump_recipe
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command and its verbs."""
    parser = commands.add_parser("runs", help="list, show, rename or delete runs")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", parents=[shared], help="all runs, newest first")
    listing.set_defaults(run=run_list)
    show = verbs.add_parser("show", parents=[shared], help="one run and its recipe")
    show.set_defaults(run=run_show)
    rename = verbs.add_parser("rename", parents=[shared], help="give a run another name")
    rename.set_defaults(run=run_rename)
    delete = verbs.add_parser("delete", parents=[shared], help="delete a run and its files")
    delete.set_defaults(run=run_delete)
    for verb in (show, rename, delete):
        verb.add_argument("which", metavar="RUN", help="name, id or folder of the run")
    rename.add_argument("name", help="the new name")


def run_list(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Print one line for each run."""
    records = RunStore(home).list()
    for record in records:
        console.print(_line(record))
    if not records:
        console.print("No runs yet. Start one with: lora-studio demo")
    console.finish({"runs": [summarise(record) for record in records]})
    return 0


def run_show(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Print a run's state, failure if any, and its frozen recipe."""
    store = RunStore(home)
    record = store.find(arguments.which)
    recipe = store.load_recipe(record)
    console.print(_line(record))
    if record.failure is not None:
        console.print(f"{record.failure.message} {record.failure.remedy}".rstrip())
    console.print(dump_recipe(recipe))
    console.finish({"runs": [{**summarise(record), "recipe": recipe.model_dump(mode="json")}]})
    return 0


def run_rename(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Change the name that is shown; the folder stays."""
    store = RunStore(home)
    record = store.rename(arguments.which, arguments.name)
    console.print(_line(record))
    console.finish({"runs": [summarise(record)]})
    return 0


def run_delete(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Delete the run's folder; refused while it works."""
    store = RunStore(home)
    record = store.find(arguments.which)
    store.delete(record.id)
    console.print(f"Deleted {record.name} ({record.id}).")
    console.finish({"runs": [summarise(record)]})
    return 0


def _line(record: RunRecord) -> str:
    loss = "" if record.last_loss is None else f"loss {record.last_loss:.4f}"
    steps = f"{record.step}/{record.total_steps or '?'} steps"
    return f"{record.id:40s} {record.status:12s} {steps:>16s} {loss:>14s}  {record.name}"
