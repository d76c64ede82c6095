"""``lora-studio runs``: the history of runs, what joins it from elsewhere, and doing one again."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from studio.cli.console import Console
from studio.cli.jobs import run_job, short_lived
from studio.cli.train import start_recipe, summarise
from studio.core.errors import JobDied
from studio.core.events.types import Event, ImportFinished
from studio.core.jobs.orders import ImportOrder
from studio.core.paths import Home
from studio.core.recipe.load import set_values
from studio.core.recipe.save import dump_recipe
from studio.core.runs.exporting import find_base_folder
from studio.core.runs.importing import WEIGHTS_NAME
from studio.core.runs.layout import RunLayout
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command and its verbs."""
    parser = commands.add_parser("runs", help="list, show, import, repeat, rename or delete")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", parents=[shared], help="all runs, newest first")
    listing.set_defaults(run=run_list)
    show = verbs.add_parser("show", parents=[shared], help="one run and its recipe")
    show.set_defaults(run=run_show)
    rename = verbs.add_parser("rename", parents=[shared], help="give a run another name")
    rename.set_defaults(run=run_rename)
    delete = verbs.add_parser("delete", parents=[shared], help="delete a run and its files")
    delete.set_defaults(run=run_delete)
    bring = verbs.add_parser(
        "import", parents=[shared], help="bring in an adapter folder (PEFT) or a run's capsule"
    )
    bring.set_defaults(run=run_import)
    bring.add_argument("source", metavar="PATH", type=Path, help="adapter folder or capsule (.zip)")
    bring.add_argument("--name", help="what the run is called here (default: its own name)")
    bring.add_argument("--base", help="its base model, where the adapter does not name it")
    repeat = verbs.add_parser(
        "repeat", parents=[shared], help="train with a run's recipe again and compare"
    )
    repeat.set_defaults(run=run_repeat)
    repeat.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting, for example base.model=FOLDER; can be given several times",
    )
    for verb in (show, repeat, rename, delete):
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
    has_recipe = RunLayout(record.folder).recipe.is_file() or not record.is_imported
    recipe = store.load_recipe(record) if has_recipe else None
    console.print(_line(record))
    if record.failure is not None:
        console.print(f"{record.failure.message} {record.failure.remedy}".rstrip())
    console.print("Imported without a recipe." if recipe is None else dump_recipe(recipe))
    shown = None if recipe is None else recipe.model_dump(mode="json")
    console.finish({"runs": [{**summarise(record), "recipe": shown}]})
    return 0


def run_import(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Check an adapter or capsule in full and add it to the history."""
    order = ImportOrder(
        source=str(arguments.source.expanduser().resolve()),
        home=str(home.folder),
        name=arguments.name,
        base=arguments.base,
    )
    found: list[ImportFinished] = []

    def watch(event: Event) -> None:
        if isinstance(event, ImportFinished):
            found.append(event)

    with short_lived(home) as layout:
        run_job(layout, order, console, watch)
    if not found:
        raise JobDied("The import ended without a result.", "Try again; nothing was imported.")
    store = RunStore(home)
    record = store.find(found[0].folder)
    console.print(_line(record))
    console.finish({"runs": [{**summarise(record), "base": found[0].base}]})
    return 0


def run_repeat(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Train with the recipe of a run once more; says whether the adapter is the same."""
    store = RunStore(home)
    record = store.find(arguments.which)
    layout = RunLayout(record.folder)
    recipe = set_values(store.load_recipe(record), arguments.set)
    start = find_base_folder(layout)
    again = start_recipe(recipe, Path(start) if start else record.folder, console, home)
    is_same = _read_weights(again) == _read_weights(layout)
    repeated = store.find(str(again.folder))
    console.print(_line(record))
    console.print(_line(repeated))
    console.print(
        "The adapters are equal, bit by bit."
        if is_same
        else "The adapters are not the same bit by bit. Another device, version, base or data can "
        "be the reason; compare the losses above."
    )
    console.finish({**summarise(repeated), "is_same": is_same, "first": summarise(record)})
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


def _read_weights(layout: RunLayout) -> str | None:
    """Return the hash of a run's trained numbers, None while it has none."""
    path = layout.adapter / WEIGHTS_NAME
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _line(record: RunRecord) -> str:
    loss = "" if record.last_loss is None else f"loss {record.last_loss:.4f}"
    steps = f"{record.step}/{record.total_steps or '?'} steps"
    return f"{record.id:40s} {record.status:12s} {steps:>16s} {loss:>14s}  {record.name}"
