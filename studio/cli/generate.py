"""``lora-studio generate``: base and adapters answer the same prompts."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from studio.cli.chat import answer
from studio.cli.console import Console
from studio.cli.export import find_adapter
from studio.cli.jobs import FORM_HELP
from studio.core.compare.prompts import load_prompts
from studio.core.errors import RecipeInvalid
from studio.core.jobs.orders import Ask, ChatOrder, ColumnWish, Turn
from studio.core.paths import Home
from studio.core.weights.quantisable import BASE_FORMS


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser("generate", parents=[shared], help="let base and adapters answer")
    parser.add_argument("--base", required=True, help="folder of the base model")
    parser.add_argument(
        "--adapter", action="append", default=[], help="adapter folder or run; several are possible"
    )
    parser.add_argument("--quantisation", choices=tuple(BASE_FORMS), default="auto", help=FORM_HELP)
    parser.add_argument("--prompt", action="append", default=[], help="the question")
    parser.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE.jsonl",
        help="file with one prompt per row, in a column prompt or messages",
    )
    parser.add_argument("--max-tokens", type=int, default=256, metavar="N", help="answer length")
    parser.add_argument("--greedy", action="store_true", help="always take the likeliest token")
    parser.add_argument("--raw", action="store_true", help="continue the text, no chat template")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampled answers")
    parser.add_argument("--temperature", type=float, metavar="T", help="0.7 if left out")
    parser.add_argument("--top-p", type=float, metavar="P", help="0.95 if left out")
    parser.add_argument("--top-k", type=int, default=0, metavar="K", help="0 means no limit")
    parser.add_argument(
        "--min-p", type=float, default=0.0, metavar="P", help="least chance beside the likeliest"
    )
    parser.add_argument(
        "--repetition-penalty", type=float, default=1.0, metavar="X", help="1 means none"
    )
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="ends an answer; several"
    )
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="X",
        help="how strongly the adapters act, from 0 (the base) to 1.5",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Answer every prompt with every column."""
    conversations: list[tuple[Turn, ...]] = [
        (Turn(role="user", content=text),) for text in arguments.prompt
    ]
    if arguments.prompts is not None:
        conversations += load_prompts(arguments.prompts.expanduser())
    if not conversations:
        raise RecipeInvalid("There is nothing to answer.", "Give --prompt TEXT or --prompts FILE.")
    if arguments.max_tokens < 1:
        raise RecipeInvalid("--max-tokens must be at least 1.", "Leave it out for 256.")
    folders = [find_adapter(text, home)[0] for text in arguments.adapter]
    order = ChatOrder(
        base=_local(arguments.base),
        adapters=name_columns(folders),
        quantisation=arguments.quantisation,
    )
    asks = [
        _build_ask(arguments, number, turns, order.adapters)
        for number, turns in enumerate(conversations)
    ]
    answers = answer(order, asks, console, home)
    for turns, columns in zip(conversations, answers, strict=True):
        console.print(f"> {turns[-1].content}")
        for name, text in columns.items():
            console.print(f"{name}: {text}")
    console.finish({"answers": answers})
    return 0


def _build_ask(
    arguments: argparse.Namespace,
    number: int,
    turns: tuple[Turn, ...],
    adapters: Iterable[str],
) -> Ask:
    temperature = 0.7 if arguments.temperature is None else arguments.temperature
    top_p = 0.95 if arguments.top_p is None else arguments.top_p
    try:
        return Ask(
            request=number,
            turns=turns,
            is_raw=arguments.raw,
            max_new_tokens=arguments.max_tokens,
            temperature=0.0 if arguments.greedy else temperature,
            top_p=1.0 if arguments.greedy else top_p,
            seed=arguments.seed,
            top_k=arguments.top_k,
            min_p=arguments.min_p,
            repetition_penalty=arguments.repetition_penalty,
            stop_texts=tuple(arguments.stop),
            per_column={name: ColumnWish(strength=arguments.strength) for name in adapters},
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = "--" + str(first["loc"][-1]).replace("_", "-")
        raise RecipeInvalid(
            f"{name} cannot be {first['input']}: {first['msg'].lower()}.",
            "lora-studio generate --help says what is possible.",
        ) from error


def name_columns(folders: Sequence[Path]) -> dict[str, str]:
    """Return adapter folders by column name: the folder's name, with its parent's if that is taken.

    Raises:
        RecipeInvalid: The same folder twice.
    """
    columns: dict[str, str] = {}
    for folder in folders:
        name = folder.name if folder.name not in {*columns, "base"} else ""
        name = name or f"{folder.parent.name}/{folder.name}"
        if name in columns:
            raise RecipeInvalid(f"The adapter {folder} was given twice.", "Name it only once.")
        columns[name] = str(folder)
    return columns


def _local(model: str) -> str:
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.exists() else model
