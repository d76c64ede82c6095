"""``lora-studio evaluate``: base and adapters measured side by side on the same rows."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.cli.console import Console
from studio.cli.export import find_adapter
from studio.cli.generate import name_columns
from studio.cli.jobs import run_job, short_lived
from studio.core.errors import JobDied, RecipeInvalid
from studio.core.events.measures import (
    ColumnScore,
    EvaluationFinished,
    EvaluationProgressed,
    RowEvaluated,
)
from studio.core.events.types import Event
from studio.core.files import write_atomically
from studio.core.jobs.orders import EvaluateOrder
from studio.core.paths import Home


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "evaluate", parents=[shared], help="measure base and adapters side by side"
    )
    parser.add_argument("--base", required=True, help="folder of the base model")
    parser.add_argument(
        "--adapter", action="append", default=[], help="adapter folder or run; several are possible"
    )
    parser.add_argument("--data", required=True, type=Path, help="file with questions and answers")
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=[],
        metavar="NAME",
        help="loss, perplexity, exact_match, token_f1, rouge_l, chrf, bleu (these if left out), "
        "json_valid, regex=PATTERN",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first rows")
    parser.add_argument("--max-tokens", type=int, default=128, metavar="N", help="answer length")
    parser.add_argument("--format", default="auto", help="layout of the rows, as in a recipe")
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="PART=NAME",
        help="which column plays which part, for example prompt=question answer=reply",
    )
    parser.add_argument(
        "--rows", type=Path, metavar="FILE.jsonl", help="write every row with its answers there"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Measure in a child job and print a table."""
    if arguments.max_tokens < 1 or (arguments.limit is not None and arguments.limit < 1):
        raise RecipeInvalid("--max-tokens and --limit must be at least 1.", "Leave them out.")
    base, data = Path(arguments.base).expanduser(), arguments.data.expanduser()
    folders = [find_adapter(text, home)[0] for text in arguments.adapter]
    order = EvaluateOrder(
        base=str(base.resolve()) if base.exists() else arguments.base,
        adapters=name_columns(folders),
        data=str(data.resolve()) if data.exists() else str(arguments.data),
        format=arguments.format,
        columns=read_columns(arguments.columns),
        limit=arguments.limit,
        metrics=tuple(arguments.metrics),
        max_new_tokens=arguments.max_tokens,
    )
    finished, rows = evaluate(order, console, home)
    if arguments.rows is not None:
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        write_atomically(arguments.rows.expanduser(), "".join(f"{line}\n" for line in lines))
    for line in build_table(finished.scores):
        console.print(line)
    console.finish({"results": build_results(finished), "rows": finished.rows})
    return 0


def read_columns(texts: Sequence[str]) -> dict[str, str]:
    """Return the columns that ``PART=NAME`` texts name.

    Raises:
        RecipeInvalid: A text is not of that form.
    """
    columns = dict(text.split("=", 1) for text in texts if "=" in text)
    if len(columns) != len(texts):
        raise RecipeInvalid(
            "--columns: every part must be given once, as PART=NAME.",
            "For example: --columns prompt=question answer=reply",
        )
    return columns


def evaluate(
    order: EvaluateOrder, console: Console, home: Home
) -> tuple[EvaluationFinished, list[dict[str, Any]]]:
    """Run the evaluate job; return its result and every row as a dictionary.

    Raises:
        StudioError: The job failed.
    """
    found: list[EvaluationFinished] = []
    rows: list[dict[str, Any]] = []

    def watch(event: Event) -> None:
        if isinstance(event, EvaluationProgressed):
            words = "losses" if event.part == "loss" else "rows answered"
            console.show_progress(f"{event.done_rows} of {event.total_rows} {words}")
        elif isinstance(event, RowEvaluated):
            rows.append(event.model_dump(exclude={"time_seconds"}))
        elif isinstance(event, EvaluationFinished):
            found.append(event)

    with short_lived(home) as layout:
        run_job(layout, order, console, watch)
    if not found:
        raise JobDied("The evaluation ended without a result.", "Try again.")
    return found[0], rows


def build_results(finished: EvaluationFinished) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return the scores by column and metric."""
    results: dict[str, dict[str, Mapping[str, Any]]] = {name: {} for name in finished.columns}
    for score in finished.scores:
        results[score.column][score.metric] = score.model_dump(exclude={"column", "metric"})
    return results


def build_table(scores: Sequence[ColumnScore]) -> list[str]:
    """Return lines for a person: a metric per row, a column per model, the interval in brackets.

    A star means that the difference from the first column is hardly luck (95 % interval).
    """
    columns = list(dict.fromkeys(score.column for score in scores))
    cells = {(score.metric, score.column): _show(score) for score in scores}
    table = [["", *columns]]
    table += [
        [metric, *(cells[metric, column] for column in columns)]
        for metric in dict.fromkeys(score.metric for score in scores)
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    if any(score.is_significant for score in scores):
        lines.append("* differs from the first column by more than chance explains (95 %)")
    return lines


def _show(score: ColumnScore) -> str:
    star = "*" if score.is_significant else ""
    return f"{score.value:.4g}{star} [{score.low:.4g}, {score.high:.4g}]"
