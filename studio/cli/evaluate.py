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
from studio.cli.jobs import FORM_HELP, run_job, short_lived
from studio.core.errors import JobDied, RecipeInvalid
from studio.core.events.measures import (
    ColumnScore,
    EvaluationFinished,
    EvaluationProgressed,
    RowEvaluated,
)
from studio.core.events.types import Event, NoticeRaised
from studio.core.files import write_atomically
from studio.core.jobs.orders import EvaluateOrder
from studio.core.paths import Home
from studio.core.results.metrics import USUAL_METRICS
from studio.core.results.result import EvaluationResult, ResultSummary, build_result
from studio.core.results.store import ResultStore
from studio.core.results.tables import build_markdown, build_rows_csv, build_scores_csv
from studio.core.runs.store import RunStore
from studio.core.weights.quantisable import BASE_FORMS


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
    parser.add_argument("--quantisation", choices=tuple(BASE_FORMS), default="auto", help=FORM_HELP)
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument("--data", type=Path, help="file with questions and answers")
    rows.add_argument("--run", dest="of_run", metavar="RUN", help="the rows that a run held back")
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"{', '.join(USUAL_METRICS)} (these if left out), json_valid, regex=PATTERN, "
        "label_accuracy or label_accuracy=LABEL,LABEL",
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
        "--rows",
        type=Path,
        metavar="FILE",
        help="write every row with its answers there (.jsonl, or .csv for spreadsheets)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the table there (.md or .csv)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Measure in a child job and print a table."""
    if arguments.max_tokens < 1 or (arguments.limit is not None and arguments.limit < 1):
        raise RecipeInvalid("--max-tokens and --limit must be at least 1.", "Leave them out.")
    base = Path(arguments.base).expanduser()
    folders = [find_adapter(text, home)[0] for text in arguments.adapter]
    order = EvaluateOrder(
        base=str(base.resolve()) if base.exists() else arguments.base,
        adapters=name_columns(folders),
        data=_find_data(arguments.data),
        run=None if arguments.of_run is None else str(RunStore(home).find(arguments.of_run).folder),
        format=arguments.format,
        columns=read_columns(arguments.columns),
        limit=arguments.limit,
        metrics=tuple(arguments.metrics),
        max_new_tokens=arguments.max_tokens,
        quantisation=arguments.quantisation,
    )
    result = ResultStore(home).save(evaluate(order, console, home))
    write_files(result, arguments.out, arguments.rows)
    for line in build_table(result.summary.scores):
        console.print(line)
    console.finish(
        {
            "results": build_results(result.summary),
            "rows": result.summary.rows,
            "folder": str(result.folder),
        }
    )
    return 0


def write_files(result: EvaluationResult, table: Path | None, rows: Path | None) -> None:
    """Write the table and the rows to the files that were asked for.

    Raises:
        FileUnusable: A file cannot be written.
    """
    if table is not None:
        is_csv = table.suffix.lower() == ".csv"
        build = build_scores_csv if is_csv else build_markdown
        write_atomically(table.expanduser(), build(result.summary))
    if rows is not None and rows.suffix.lower() == ".csv":
        write_atomically(rows.expanduser(), build_rows_csv(result))
    elif rows is not None:
        lines = (row.model_dump(exclude={"time_seconds"}) for row in result.rows)
        content = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        write_atomically(rows.expanduser(), content)


def _find_data(path: Path | None) -> str:
    if path is None:
        return ""
    data = path.expanduser()
    return str(data.resolve()) if data.exists() else str(path)


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


def evaluate(order: EvaluateOrder, console: Console, home: Home) -> EvaluationResult:
    """Run the evaluate job; return what it measured, not kept yet.

    Raises:
        StudioError: The job failed.
    """
    found: list[EvaluationFinished] = []
    rows: list[RowEvaluated] = []
    notices: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, EvaluationProgressed):
            words = "losses" if event.part == "loss" else "rows answered"
            console.show_progress(f"{event.done_rows} of {event.total_rows} {words}")
        elif isinstance(event, RowEvaluated):
            rows.append(event)
        elif isinstance(event, NoticeRaised):
            notices.append(f"{event.message} {event.remedy}".strip())
        elif isinstance(event, EvaluationFinished):
            found.append(event)

    with short_lived(home) as layout:
        run_job(layout, order, console, watch)
    if not found:
        raise JobDied("The evaluation ended without a result.", "Try again.")
    return build_result(order, found[0], rows, notices=notices)


def build_results(summary: ResultSummary) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return the scores by column and metric."""
    results: dict[str, dict[str, Mapping[str, Any]]] = {name: {} for name in summary.columns}
    for score in summary.scores:
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
