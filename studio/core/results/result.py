"""One finished evaluation: what was asked, every value with its interval, every row."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from studio.core.events.measures import ColumnScore, EvaluationFinished, RowEvaluated
from studio.core.jobs.orders import EvaluateOrder

_MOMENT = re.compile(r"^\d{8}-\d{6}-")


class ResultSummary(BaseModel):
    """An evaluation without its rows; ``time_seconds`` is Unix time.

    ``adapters`` maps columns to folders. ``data`` is the file, or the run whose held-out rows
    were measured.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    version: int = 1
    name: str
    base: str
    adapters: dict[str, str]
    data: str
    columns: tuple[str, ...]
    rows: int
    scores: tuple[ColumnScore, ...]
    max_new_tokens: int = 0
    notices: tuple[str, ...] = ()
    time_seconds: float = 0.0

    @property
    def metrics(self) -> tuple[str, ...]:
        """The measures, in their order."""
        return tuple(dict.fromkeys(score.metric for score in self.scores))

    def find_score(self, metric: str, column: str) -> ColumnScore | None:
        """Returns one value, or None where it was not measured."""
        return next(
            (one for one in self.scores if (one.metric, one.column) == (metric, column)), None
        )


class EvaluationResult(BaseModel):
    """A summary with all rows; ``folder`` is where it is kept, None before that."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    summary: ResultSummary
    rows: tuple[RowEvaluated, ...]
    folder: Path | None = None


def build_result(
    order: EvaluateOrder,
    finished: EvaluationFinished,
    rows: Iterable[RowEvaluated],
    *,
    notices: Sequence[str] = (),
    seconds: float | None = None,
) -> EvaluationResult:
    """Returns what a job has measured as one value; ``seconds`` is its time, now if None."""
    source = order.run or order.data
    names = ", ".join(order.adapters) or "base"
    summary = ResultSummary(
        name=f"{names} on {name_source(source)}"[:120],
        base=order.base,
        adapters=order.adapters,
        data=source,
        columns=finished.columns,
        rows=finished.rows,
        scores=finished.scores,
        max_new_tokens=order.max_new_tokens,
        notices=tuple(notices),
        time_seconds=time.time() if seconds is None else seconds,
    )
    return EvaluationResult(summary=summary, rows=tuple(rows))


def name_source(source: str) -> str:
    """Returns the name of a data file, or of a run without the moment in its folder's name."""
    return _MOMENT.sub("", Path(source).name)


def find_advantage(row: RowEvaluated, metric: str, column: str, other: str) -> float | None:
    """Returns how much more one column has in a row than another, None where either is missing."""
    own, base = (row.scores.get(name, {}).get(metric) for name in (column, other))
    return None if own is None or base is None else own - base
