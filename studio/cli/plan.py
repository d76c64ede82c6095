"""``lora-studio plan``: how much memory and time a recipe needs, and what to change."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.cli.console import Console
from studio.cli.jobs import run_job, short_lived
from studio.core.errors import RecipeInvalid, StudioError
from studio.core.hub.layers import HubLayers
from studio.core.jobs.orders import MeasureOrder
from studio.core.memory.anatomy import Anatomy
from studio.core.memory.card import CARD_SIZES, DeviceSpec, find_device, limit_device
from studio.core.memory.fit import Advice, describe_slowdown
from studio.core.memory.forecast import Forecast, advise, build_forecast
from studio.core.memory.measured import DryRun, Measurements, learn
from studio.core.memory.model import load_anatomy
from studio.core.memory.rows import RowLengths
from studio.core.memory.speed import TimeEstimate
from studio.core.memory.text_lengths import guess_rows
from studio.core.network.gate import find_gate
from studio.core.paths import Home
from studio.core.recipe.load import load_recipe, set_values
from studio.core.recipe.save import save_recipe
from studio.core.recipe.schema import Recipe
from studio.core.units import format_bytes, format_count, format_duration

_BAR = 30
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?\s*", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "plan", parents=[shared], help="forecast memory and time of a recipe"
    )
    parser.add_argument("recipe", type=Path, help="recipe file (YAML)")
    parser.add_argument(
        "--measure",
        action="store_true",
        help="do two training steps on the longest rows and correct the forecast by them",
    )
    parser.add_argument(
        "--budget",
        type=parse_size,
        metavar="SIZE",
        help="memory to fit into, for example 12GB (default: what is free now)",
    )
    parser.add_argument(
        "--card",
        type=int,
        choices=CARD_SIZES,
        metavar="GB",
        help="plan for a card with this much memory, also where this computer has none "
        f"({', '.join(map(str, CARD_SIZES))})",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting, for example train.micro_batch_tokens=4096",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Forecast, measure if asked to, and say what to change where it does not fit."""
    recipe = set_values(load_recipe(arguments.recipe), arguments.set)
    base_folder = arguments.recipe.expanduser().resolve().parent
    anatomy = load_anatomy(recipe, base_folder, HubLayers(find_gate(home)))
    device = find_device(recipe.train.devices)
    context = anatomy.layers.context_tokens
    rows = guess_rows(recipe, base_folder, anatomy.vocabulary, context)
    problem: StudioError | None = None
    if arguments.measure:
        try:
            rows = _measure(recipe, anatomy, device, base_folder, console, home) or rows
        except StudioError as error:
            if error.code != "out_of_memory":
                raise
            problem = error
    if arguments.card is not None:
        device = limit_device(device, arguments.card)
    budget = device.free_bytes if arguments.budget is None else arguments.budget
    allowed = replace(device, free_bytes=budget)
    known = Measurements.load(home)
    forecast = advise(build_forecast(recipe, anatomy, allowed, rows, budget, known))
    if problem is not None:
        forecast = replace(forecast, fits=False)
        console.say(f"The dry run ended: {problem}")
    _print(forecast, console, can_measure=arguments.card is None)
    console.finish(_summarise(forecast))
    return 0


def parse_size(text: str) -> int:
    """Return the bytes that a size such as ``12GB``, ``800 MB`` or ``8g`` means (1 KB = 1024 B).

    Raises:
        argparse.ArgumentTypeError: It is no size.
    """
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * 1024 ** _POWERS[match[2].upper()]) if match else 0
    if size <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write for example 12GB")
    return size


def _measure(
    recipe: Recipe,
    anatomy: Anatomy,
    device: DeviceSpec,
    base_folder: Path,
    console: Console,
    home: Home,
) -> RowLengths | None:
    """Do the dry run in a child, remember what it taught; returns the rows as they were counted."""
    dry_run = DryRun()
    with short_lived(home) as layout:
        save_recipe(recipe, layout.recipe)
        run_job(layout, MeasureOrder(base_folder=str(base_folder)), console, dry_run.take)
    rows, result = dry_run.rows, dry_run.result
    if result is None or rows is None:
        raise RecipeInvalid("The measurement was stopped.", "Start it again.", code="stopped")
    learn(home, recipe, anatomy, device, rows, result)
    return rows


def _print(forecast: Forecast, console: Console, *, can_measure: bool) -> None:
    ledger, time = forecast.ledger, forecast.time
    largest = max(part.size_bytes for part in ledger.parts)
    how = "corrected by a measurement" if ledger.is_measured else "forecast"
    console.print(f"Memory on {forecast.device.name} ({how}):")
    for part in (one for one in ledger.parts if one.size_bytes):
        bar = "#" * round(_BAR * part.size_bytes / max(1, largest))
        console.print(f"  {part.label:22s}{format_bytes(part.size_bytes):>9s}  {bar}".rstrip())
    console.print(f"  {'Together':22s}{format_bytes(ledger.total_bytes):>9s}")
    verdict = "It fits" if forecast.fits else "It does not fit"
    closely = ", but only just: it may not" if forecast.verdict == "tight" else ""
    console.print(f"{verdict} into {format_bytes(forecast.budget_bytes)}{closely}.")
    if ledger.computer_bytes:
        console.print(_describe_computer(forecast))
    console.print(
        f"{format_count(ledger.trainable_parameters)} trainable parameters, {time.steps:,} steps, "
        f"about {format_duration(time.seconds)} of training "
        f"({format_duration(time.seconds_per_epoch)} per epoch)."
    )
    console.print(_describe_speed(time, can_measure=can_measure))
    if forecast.rows.is_guess:
        console.print(
            f"The longest of {forecast.rows.rows:,} rows is taken to have about "
            f"{ledger.settled.max_tokens:,} tokens; --measure counts them."
        )
    for line in _describe_advice(forecast):
        console.print(line)


def _describe_computer(forecast: Forecast) -> str:
    needed = format_bytes(forecast.ledger.computer_bytes)
    words = f"What visits the card takes {needed} of the computer's memory"
    free = forecast.device.computer_bytes
    return f"{words}." if free is None else f"{words}; {format_bytes(free)} are free."


def _describe_speed(time: TimeEstimate, *, can_measure: bool) -> str:
    rate = f"about {max(1, round(time.tokens_per_second)):,} tokens a second"
    if not time.is_guess:
        return f"That is {rate}, as measured; loading and validation come on top."
    flops = f"{format_count(round(time.flops_per_second))} operations a second"
    hint = "; --measure measures it" if can_measure else ""
    return (
        f"That is {rate}: the speed is a guess ({flops}{hint}). Loading and validation come on top."
    )


def _describe_advice(forecast: Forecast) -> Sequence[str]:
    if not forecast.advice:
        return ()
    needed = [item for item in forecast.advice if item.is_needed]
    lines = []
    if needed:
        words = "These changes together make it fit"
        size = format_bytes(forecast.advised_bytes)
        lines.append(f"{words} ({size}):")
        lines += [_describe(item) for item in needed]
    elif forecast.ledger.bytes_by_part["overhead"] >= forecast.budget_bytes:
        lines.append("That is less than the program itself needs, whatever the recipe says.")
    else:
        lines.append("No set of changes makes it fit: choose a smaller base model.")
    others = [item for item in forecast.advice if not item.is_needed]
    if others:
        lines.append("Other changes that save memory:")
        lines += [_describe(item) for item in others]
    return lines


def _describe(item: Advice) -> str:
    changes = " ".join(f"--set {key}={value}" for key, value in item.changes)
    saved = format_bytes(item.saved_bytes) if item.saved_bytes > 0 else "nothing alone"
    later = "" if item.is_available else " (comes with a later version)"
    return (
        f"  {item.label}: saves {saved}, {describe_slowdown(item.slowdown)}{later}\n      {changes}"
    )


def _summarise(forecast: Forecast) -> dict[str, Any]:
    ledger, settled = forecast.ledger, forecast.ledger.settled
    return {
        "fits": forecast.fits,
        "verdict": forecast.verdict,
        "bytes_by_part": ledger.bytes_by_part,
        "total_bytes": ledger.total_bytes,
        "budget_bytes": forecast.budget_bytes,
        "computer_bytes": ledger.computer_bytes,
        "trainable_parameters": ledger.trainable_parameters,
        "seconds_estimate": forecast.time.seconds,
        "seconds_per_epoch": forecast.time.seconds_per_epoch,
        "tokens_per_second": forecast.time.tokens_per_second,
        "steps": forecast.time.steps,
        "is_speed_guessed": forecast.time.is_guess,
        "is_measured": ledger.is_measured,
        "device": forecast.device.name,
        "settings": {
            "base.offload": "layers" if settled.visits else "none",
            "train.checkpointing": "offload" if settled.offloads else str(settled.recomputing),
            "train.micro_batch_tokens": settled.micro_batch_tokens,
            "data.max_tokens": settled.max_tokens,
            "largest_micro_batch_tokens": settled.tokens,
        },
        "rows": {
            "count": forecast.rows.rows,
            "mean_tokens": forecast.rows.mean_tokens,
            "longest_tokens": forecast.rows.longest,
            "is_guess": forecast.rows.is_guess,
        },
        "advised_bytes": forecast.advised_bytes,
        "advice": [
            {
                "key": item.key,
                "label": item.label,
                "reason": item.reason,
                "set": dict(item.changes),
                "saved_bytes": item.saved_bytes,
                "slowdown": item.slowdown,
                "is_available": item.is_available,
                "is_needed": item.is_needed,
            }
            for item in forecast.advice
        ],
    }
