"""What an evaluation found, in sentences for people."""

from __future__ import annotations

from collections.abc import Sequence

from studio.core.events.measures import ColumnScore
from studio.core.results.metrics import format_value
from studio.core.results.result import ResultSummary

_FEW_ROWS = 20
_NAMED = 3


def describe_score(score: ColumnScore) -> str:
    """Returns one value with its interval and its difference from the base, in a few sentences."""
    value, low, high = (
        format_value(score.metric, number) for number in (score.value, score.low, score.high)
    )
    lines = [
        f"{score.label} of {score.column}: {value}.",
        f"With other rows of this kind it would lie between {low} and {high} (95 %).",
    ]
    if score.difference is not None:
        sign = "+" if score.difference > 0 else "-" if score.difference < 0 else "±"
        by = format_value(score.metric, abs(score.difference))
        lines.append(f"Difference from the first column: {sign}{by}, {_judge(score)}.")
    return "\n".join(lines)


def describe_findings(summary: ResultSummary) -> list[str]:
    """Returns one sentence per adapter: what got better, what got worse; and a warning if few."""
    first = summary.columns[0]
    lines = []
    for column in summary.columns[1:]:
        better, worse = (
            [
                one.label
                for one in summary.scores
                if one.column == column and one.is_significant and is_better(one) is wanted
            ]
            for wanted in (True, False)
        )
        total = sum(one.column == column for one in summary.scores)
        parts = [f"better in {_list_measures(better, total)}"] if better else []
        parts += [f"worse in {_list_measures(worse, total)}"] if worse else []
        if parts:
            lines.append(f"{column} is {' but '.join(parts)} than {first}.")
        else:
            lines.append(f"Between {column} and {first} no difference is more than chance.")
    if summary.rows < _FEW_ROWS:
        word = "row" if summary.rows == 1 else "rows"
        lines.append(
            f"Only {summary.rows} {word}: the intervals are wide. Measure more rows to be sure."
        )
    return lines


def is_better(score: ColumnScore) -> bool | None:
    """Returns whether a value is better than that of the first column, None if equal or first."""
    if not score.difference:
        return None
    return (score.difference > 0) == score.is_higher_better


def list_words(words: Sequence[str]) -> str:
    """Returns words as a list such as ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _list_measures(labels: Sequence[str], total: int) -> str:
    """Returns few measures by name; of many only how many they are, the table has the rest."""
    if len(labels) <= _NAMED:
        return list_words(labels)
    if len(labels) == total:
        return f"all {total} measures"
    return f"{len(labels)} of {total} measures ({', '.join(labels[:2])} and more)"


def _judge(score: ColumnScore) -> str:
    chance = "" if score.p_value is None else f" (p = {score.p_value:.2g})"
    if not score.is_significant:
        return f"which may be chance{chance}"
    word = "better" if is_better(score) else "worse"
    return f"{word} by more than chance explains{chance}"
