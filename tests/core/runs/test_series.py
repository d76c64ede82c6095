"""Curves stay functions of the step and are read without copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.events import types
from studio.core.runs.series import Column, Curve, RunSeries


def _step(step: int, loss: float) -> types.StepFinished:
    return types.StepFinished(
        step=step,
        epoch=0,
        loss=loss,
        learning_rate=1e-4,
        gradient_norm=1,
        supervised_tokens=5,
        tokens=10,
        seconds=2,
    )


@given(st.lists(st.one_of(st.floats(), st.integers(0, 40).map(lambda count: ("cut", count)))))
def test_a_column_behaves_like_a_list(wishes: list[float | tuple[str, int]]) -> None:
    column, model = Column(), list[float]()
    views: list[tuple[memoryview, str]] = []
    for wish in wishes:
        if isinstance(wish, tuple):
            column.truncate(wish[1])
            del model[wish[1] :]
        else:
            column.append(wish)
            model.append(wish)
        views.append((column.view, repr(model)))
    for view, expected in views:
        assert repr(view.tolist()) == expected  # an old view never changes
    assert len(column) == len(model)


def test_a_view_is_shared_with_numpy_and_growing_does_not_disturb_it() -> None:
    column = Column("d", [1.0, 2.0])
    shared = np.asarray(column.view)
    assert np.shares_memory(shared, np.asarray(column.view))
    for number in range(10_000):
        column.append(number)
    assert shared.tolist() == [1.0, 2.0]
    assert len(np.asarray(column.view)) == 10_002


def test_an_index_outside_is_refused_and_a_negative_one_counts_from_the_end() -> None:
    column = Column("q", [1, 2, 3])
    column.append(4)
    assert (column[-1], column[0]) == (4, 1)
    for index in (4, -5):
        with pytest.raises(IndexError):
            column[index]


def test_a_run_that_goes_on_from_a_checkpoint_draws_no_zigzag() -> None:
    series = RunSeries()
    for step in range(1, 9):
        series.add(_step(step, loss=10 - step))
        series.add(types.MemoryMeasured(step=step, device="cpu", used_bytes=step, peak_bytes=9))
        series.add(
            types.ValidationFinished(
                step=step, loss=step, supervised_tokens=1, is_best=False, seconds=1
            )
        )
    series.add(types.PlanMade(total_steps=10, steps_per_epoch=5, first_step=5))
    for curve in (series.training, series.validation, series.memory):
        assert curve.step.view.tolist() == [1, 2, 3, 4, 5]
    series.add(_step(6, loss=0.5))
    assert series.training["loss"].view.tolist() == [9, 8, 7, 6, 5, 0.5]
    assert series.training["tokens_per_second"][-1] == 5


@given(st.lists(st.integers(0, 20), max_size=40))
def test_steps_always_ascend_even_when_a_journal_repeats_them(steps: list[int]) -> None:
    curve = Curve("loss")
    for step in steps:
        curve.append(step, float(step))
    seen = curve.step.view.tolist()
    assert seen == sorted(set(seen))
    assert curve["loss"].view.tolist() == [float(step) for step in seen]
    if steps:
        assert seen[-1] == steps[-1]


def test_saved_curves_come_back_equal_and_can_grow() -> None:
    series = RunSeries()
    for step in range(1, 1000):
        series.add(_step(step, loss=float("nan") if step == 7 else step / 3))
    back = RunSeries.parse(series.dump())
    np.testing.assert_array_equal(
        np.asarray(back.training["loss"].view), np.asarray(series.training["loss"].view)
    )
    back.add(_step(1000, loss=1))
    assert len(back.training) == 1000


def test_damaged_curves_are_refused() -> None:
    dump = RunSeries().dump()
    with pytest.raises(KeyError):
        RunSeries.parse({})
    with pytest.raises(ValueError, match="lengths"):
        RunSeries.parse({**dump, "validation": {"step": Column("q", [1]).dump(), "loss": ""}})
    with pytest.raises(ValueError, match=r"."):
        RunSeries.parse({**dump, "validation": {"step": "%%%", "loss": ""}})
