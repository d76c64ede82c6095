"""Schedules follow their closed forms."""

from __future__ import annotations

import math

import pytest

from studio.engine.train.schedules import SCHEDULES, get_factor, get_warmup_steps


def test_the_rate_rises_in_equal_parts_and_reaches_one_after_the_warm_up() -> None:
    rising = [get_factor("linear", step, 100, 0.04) for step in range(5)]
    assert rising == pytest.approx([1 / 5, 2 / 5, 3 / 5, 4 / 5, 1.0])


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_without_warm_up_starts_at_the_full_rate(name: str) -> None:
    assert get_factor(name, 0, 10, 0.0) == 1.0


@pytest.mark.parametrize("step", [3, 7, 50, 99])
def test_each_schedule_equals_its_formula(step: int) -> None:
    progress = (step - 3) / 97
    assert get_factor("constant", step, 100, 0.03) == 1.0
    assert get_factor("linear", step, 100, 0.03) == pytest.approx(1 - progress)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    assert get_factor("cosine", step, 100, 0.03) == pytest.approx(cosine)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_even_the_shortest_run_has_a_step_after_the_warm_up(total: int) -> None:
    assert get_warmup_steps(total, 0.99) < total
    assert all(get_factor("cosine", step, total, 0.99) > 0 for step in range(total))
