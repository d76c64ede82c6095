"""``lora-studio demo``: teaches the built-in model two habits and shows what changed."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from studio.cli.chat import answer
from studio.cli.console import Console
from studio.cli.export import export
from studio.cli.train import start_recipe, summarise
from studio.core.errors import FileUnusable
from studio.core.jobs.orders import Ask, ChatOrder, Turn
from studio.core.paths import Home
from studio.core.runs.layout import RunLayout
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore
from studio.core.starter import StarterDataSet, StarterKit, load_starter
from studio.core.units import format_duration

DATA_SETS = ("pirate", "json")
QUESTIONS = 4
ANSWER_TOKENS = 60


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo", parents=[shared], help="fine-tune the built-in starter model and compare"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for everything it writes")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Train two adapters, let base and adapters answer, export and verify; 1 if a check fails."""
    started = time.perf_counter()
    if arguments.out is not None:
        home = Home(_empty_folder(arguments.out) / "home")
    out = arguments.out.expanduser().resolve() if arguments.out else None
    kit = load_starter()
    console.say(f"Base model: {kit.title}. {kit.description}")
    chosen = [kit.get_data_set(name) for name in DATA_SETS]
    records = [_train(kit, data_set, console, home) for data_set in chosen]
    folders = [RunLayout(Path(record.folder)).adapter for record in records]
    columns = {data_set.name: str(folder) for data_set, folder in zip(chosen, folders, strict=True)}
    prompts = kit.load_held_out_prompts(chosen[0])[:QUESTIONS]
    answers = _compare(kit, columns, prompts, console, home)
    first = Path(records[0].folder)
    adapter_dir = (out or first / "exports") / "adapter"
    merged_dir = (out or first / "exports") / "merged"
    model = str(kit.model_folder)
    console.say("Exporting the first adapter, alone and merged into the base model …")
    adapter = export(folders[0], model, "adapter", adapter_dir, console, home)
    merged = export(folders[0], model, "merged", merged_dir, console, home)
    is_verified = adapter.is_verified and merged.is_verified
    seconds = time.perf_counter() - started
    console.print(f"Adapter (PEFT format):     {adapter_dir}")
    console.print(f"Merged model:              {merged_dir}")
    verdict = "give the same answers as here" if is_verified else "ANSWER DIFFERENTLY"
    console.print(f"Both were loaded again and {verdict}. Done in {format_duration(seconds)}.")
    console.finish(
        {
            **summarise(records[0]),
            "base_answer": answers[0]["base"],
            "adapter_answers": {name: answers[0][name] for name in columns},
            "answers": [
                {"prompt": prompt, **found} for prompt, found in zip(prompts, answers, strict=True)
            ],
            "adapter_dir": str(adapter_dir),
            "merged_dir": str(merged_dir),
            "verified": is_verified,
            "seconds": round(seconds, 2),
        }
    )
    return 0 if is_verified else 1


def _train(kit: StarterKit, data_set: StarterDataSet, console: Console, home: Home) -> RunRecord:
    console.say(f"\nTeaching: {data_set.title}. {data_set.description}")
    layout = start_recipe(kit.build_recipe(data_set), kit.folder, console, home)
    record = RunStore(home).load(layout)
    console.print(
        f"{data_set.title}: loss {record.first_loss:.3f} -> {record.last_loss:.3f} "
        f"in {record.step} steps, {format_duration(record.trained_seconds)}"
    )
    return record


def _compare(
    kit: StarterKit,
    columns: dict[str, str],
    prompts: tuple[str, ...],
    console: Console,
    home: Home,
) -> list[dict[str, str]]:
    """Let base and adapters answer questions that were not among the training rows."""
    console.say("\nAsking base and adapters questions that were not among the training rows …")
    asks = [
        Ask(
            request=number,
            turns=(Turn(role="user", content=prompt),),
            max_new_tokens=ANSWER_TOKENS,
        )
        for number, prompt in enumerate(prompts)
    ]
    order = ChatOrder(base=str(kit.model_folder), adapters=columns)
    answers = answer(order, asks, console, home)
    width = max(len(name) for name in ("base", *columns))
    for prompt, found in zip(prompts, answers, strict=True):
        console.print(f"\n> {prompt}")
        for name, text in found.items():
            console.print(f"  {name:{width}}  {text}")
    console.print("")
    return answers


def _empty_folder(folder: Path) -> Path:
    folder = folder.expanduser().resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileUnusable(
            f"{folder} is not empty.", "Give a new folder: nothing that exists is overwritten."
        )
    return folder
