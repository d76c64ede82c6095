"""Collects the numbers of every row and column and makes values with intervals of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studio.core.errors import RecipeInvalid
from studio.core.events.measures import ColumnScore
from studio.engine.evaluate.confidence import Bootstrap, Numbers
from studio.engine.metrics import Metric, get_metric

LOSS_METRICS = ("loss", "perplexity")
ANSWER_METRICS = ("exact_match", "token_f1", "rouge_1", "rouge_2", "rouge_l", "chrf", "bleu")


@dataclass(frozen=True)
class Wish:
    """One metric that is wanted, with its argument, for example the pattern of ``regex``."""

    name: str
    argument: str
    metric: Metric

    @property
    def key(self) -> str:
        """The metric as the user wrote it."""
        return f"{self.name}={self.argument}" if self.argument else self.name


def read_wishes(texts: Sequence[str]) -> tuple[Wish, ...]:
    """Returns the metrics that ``texts`` name, each ``name`` or ``name=argument``.

    Raises:
        NotAvailableYet: There is no metric of that name.
        RecipeInvalid: A metric is named twice, or its argument is missing or broken.
    """
    wishes = []
    for text in texts or (*LOSS_METRICS, *ANSWER_METRICS):
        name, _, argument = text.partition("=")
        wish = Wish(name, argument, get_metric(name))
        if wish.metric.READS == "answer":
            wish.metric.count("", "", argument)  # a broken argument shows before the work begins
        if wish in wishes:
            raise RecipeInvalid(f"The metric {text} is named twice.", "Name it only once.")
        wishes.append(wish)
    return tuple(wishes)


class Scores:
    """The numbers of each row, by column and metric; rows come in the same order everywhere."""

    def __init__(self, columns: Sequence[str], wishes: Sequence[Wish]) -> None:
        self._columns = tuple(columns)
        self._wishes = tuple(wishes)
        self._counts: dict[tuple[str, str], list[tuple[float, ...]]] = {
            (column, wish.key): [] for column in columns for wish in wishes
        }

    def add_answer(self, column: str, answer: str, expected: str) -> dict[str, float]:
        """Counts one answer; returns its own values by metric."""
        values = {}
        for wish in self._wishes:
            if wish.metric.READS == "answer":
                numbers = wish.metric.count(answer, expected, wish.argument)
                values[wish.key] = self._add(column, wish, numbers)
        return values

    def add_loss(self, column: str, nats: float, tokens: float) -> dict[str, float]:
        """Counts the loss of one row; returns its own values by metric."""
        return {
            wish.key: self._add(column, wish, (nats, tokens))
            for wish in self._wishes
            if wish.metric.READS == "loss"
        }

    def build_results(self) -> tuple[ColumnScore, ...]:
        """Returns every value with its interval, and its difference from the first column."""
        results = []
        for wish in self._wishes:
            first = np.array(self._counts[self._columns[0], wish.key], dtype=np.float64)
            if not len(first):
                continue
            bootstrap = Bootstrap(len(first))
            for column in self._columns:
                counts = np.array(self._counts[column, wish.key], dtype=np.float64)
                is_first = column == self._columns[0]
                results.append(
                    _build_score(column, wish, counts, None if is_first else first, bootstrap)
                )
        return tuple(results)

    def _add(self, column: str, wish: Wish, numbers: tuple[float, ...]) -> float:
        self._counts[column, wish.key].append(numbers)
        return float(wish.metric.combine(np.array(numbers, dtype=np.float64)))


def _build_score(
    column: str, wish: Wish, counts: Numbers, first: Numbers | None, bootstrap: Bootstrap
) -> ColumnScore:
    estimate = bootstrap.estimate(counts, wish.metric.combine)
    score = ColumnScore(
        column=column,
        metric=wish.key,
        label=wish.metric.LABEL,
        is_higher_better=wish.metric.IS_HIGHER_BETTER,
        rows=len(counts),
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
    )
    if first is None:
        return score
    difference = bootstrap.compare(counts, first, wish.metric.combine)
    return score.model_copy(
        update={
            "difference": difference.value,
            "difference_low": difference.low,
            "difference_high": difference.high,
            "p_value": difference.p_value,
            "is_significant": difference.is_significant,
        }
    )
