"""An evaluation as CSV for spreadsheets and as Markdown for people."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

from studio.core.events.measures import ColumnScore
from studio.core.results.metrics import format_value
from studio.core.results.result import EvaluationResult, ResultSummary, name_source
from studio.core.units import format_things

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def build_file(result: EvaluationResult, kind: str) -> str:
    """Returns what a file holds: ``table.md``, ``table.csv`` or ``rows.csv``."""
    if kind == "rows.csv":
        return build_rows_csv(result)
    build = build_markdown if kind == "table.md" else build_scores_csv
    return build(result.summary)


def build_scores_csv(summary: ResultSummary) -> str:
    """Returns one line per measure and column, with interval, difference and p-value."""
    names = (
        "metric",
        "column",
        "value",
        "low",
        "high",
        "difference",
        "difference_low",
        "difference_high",
        "p_value",
        "is_significant",
        "rows",
    )
    lines: list[tuple[object, ...]] = [names]
    for score in summary.scores:
        values = (getattr(score, name) for name in names)
        lines.append(tuple("" if value is None else value for value in values))
    return write_csv(lines)


def build_rows_csv(result: EvaluationResult) -> str:
    """Returns one line per row: question, expected text, then answer and values per column."""
    columns, metrics = result.summary.columns, result.summary.metrics
    head = ["row", "prompt", "expected"]
    for column in columns:
        head += [f"{column}: answer", *(f"{column}: {metric}" for metric in metrics)]
    lines: list[tuple[object, ...]] = [tuple(head)]
    for row in result.rows:
        cells: list[object] = [row.row, row.prompt, row.expected]
        for column in columns:
            scores = row.scores.get(column, {})
            cells += [row.answers.get(column, ""), *(scores.get(one, "") for one in metrics)]
        lines.append(tuple(cells))
    return write_csv(lines)


def build_markdown(summary: ResultSummary) -> str:
    """Returns the table of values as Markdown, with what was measured above it."""
    moment = time.strftime("%Y-%m-%d %H:%M", time.localtime(summary.time_seconds))
    lines = [
        f"# {escape_markdown(summary.name)}",
        "",
        f"{format_things(summary.rows, 'row')} of {escape_markdown(name_source(summary.data))}, "
        f"base {escape_markdown(Path(summary.base).name)}, {moment}.",
        "",
        "| | " + " | ".join(map(escape_markdown, summary.columns)) + " |",
        "|---|" + "---|" * len(summary.columns),
    ]
    for metric in summary.metrics:
        scores = [summary.find_score(metric, column) for column in summary.columns]
        label = next((score.label for score in scores if score is not None), metric)
        lines.append(f"| {escape_markdown(label)} | " + " | ".join(map(_describe, scores)) + " |")
    lines += [
        "",
        "In brackets: the interval that holds the true value with 95 % confidence (bootstrap). "
        "A star marks a difference from the first column that chance hardly explains.",
    ]
    return "\n".join(lines) + "\n"


def _describe(score: ColumnScore | None) -> str:
    if score is None:
        return ""
    value, low, high = (
        format_value(score.metric, number) for number in (score.value, score.low, score.high)
    )
    return f"{value}{' *' if score.is_significant else ''} [{low}, {high}]"


def escape_markdown(text: str) -> str:
    """Returns text on one line in which no sign means anything to Markdown."""
    plain = " ".join(text.split())
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#" else sign for sign in plain)


def write_csv(lines: list[tuple[object, ...]]) -> str:
    """Returns lines as CSV; text that a spreadsheet would run as a formula is made harmless."""
    stream = io.StringIO()
    csv.writer(stream).writerows(tuple(map(_defuse, line)) for line in lines)
    return stream.getvalue()


def _defuse(cell: object) -> object:
    """Returns the cell; text that a spreadsheet would run as a formula begins with a quote."""
    is_formula = isinstance(cell, str) and cell.startswith(_FORMULA_STARTS)
    return f"'{cell}" if is_formula else cell
