"""Intervals equal the closed form and scipy's bootstrap; differences are judged by pairs."""

from __future__ import annotations

import numpy as np
import pytest

from studio.engine.evaluate.confidence import Bootstrap
from studio.engine.metrics import get_metric

combine = get_metric("exact_match").combine


def _counts(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones_like(values)], axis=1)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.RandomState(0).normal(3.0, 2.0, 4000)
    found = Bootstrap(len(values)).estimate(_counts(values), combine)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


@pytest.mark.referee
@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_a_quotient_equals_scipys(seed: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    numbers = np.random.RandomState(seed)
    tokens = numbers.randint(1, 40, 80).astype(float)
    nats = tokens * numbers.gamma(2.0, 1.0, 80)
    found = Bootstrap(80, draws=8000).estimate(np.stack([nats, tokens], 1), combine)
    expected = stats.bootstrap(
        (nats, tokens),
        lambda above, below, axis: above.sum(axis) / below.sum(axis),
        n_resamples=8000,
        paired=True,
        vectorized=True,
        method="percentile",
        random_state=seed,
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.06 * width)
    assert found.high == pytest.approx(expected.high, abs=0.06 * width)


def test_a_small_but_steady_difference_is_significant_and_luck_is_not() -> None:
    numbers = np.random.RandomState(1)
    base = numbers.normal(0.0, 5.0, 200)
    steady = base + 0.1 + numbers.normal(0.0, 0.2, 200)
    lucky = base + numbers.normal(0.0, 0.2, 200)
    bootstrap = Bootstrap(200)
    found = bootstrap.compare(_counts(steady), _counts(base), combine)
    assert found.is_significant
    assert found.value == pytest.approx(float((steady - base).mean()))
    assert found.low < found.value < found.high
    assert found.p_value < 0.01
    luck = bootstrap.compare(_counts(lucky), _counts(base), combine)
    assert not luck.is_significant
    assert luck.p_value > 0.05
    same = bootstrap.compare(_counts(base), _counts(base), combine)
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_the_same_rows_always_give_the_same_interval() -> None:
    values = _counts(np.arange(30.0))
    assert Bootstrap(30).estimate(values, combine) == Bootstrap(30).estimate(values, combine)


@pytest.mark.parametrize("rows", [2, 5, 6, 8])
def test_a_handful_of_rows_proves_nothing(rows: int) -> None:
    values = np.arange(1.0, rows + 1)
    found = Bootstrap(rows).compare(_counts(values + 9.0), _counts(values), combine)
    agree = 2.0 ** (1 - rows)  # a two-sided sign test in which all rows agree
    assert found.low > 0
    assert found.p_value >= agree - 1e-12
    assert found.is_significant == (agree < 0.05)
