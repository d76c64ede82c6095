from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.gui.plots.smoothing import smooth

VALUES = st.lists(st.floats(-1e3, 1e3) | st.just(float("nan")), max_size=300)


def smooth_slowly(values: list[float], weight: float) -> list[float]:
    """The textbook recursion with bias correction, skipping what is no number."""
    average, mass, result = 0.0, 0.0, []
    for value in values:
        is_known = np.isfinite(value)
        average = weight * average + (1 - weight) * (value if is_known else 0.0)
        mass = weight * mass + (1 - weight) * is_known
        result.append(average / mass if mass > 0 else float("nan"))
    return result


@given(values=VALUES, weight=st.sampled_from([0.0, 0.5, 0.9, 0.99]))
def test_blocks_give_the_same_as_the_recursion(values: list[float], weight: float) -> None:
    fast = smooth(np.array(values, dtype=np.float64), weight)
    slow = np.array(smooth_slowly(values, weight))
    # Far behind the last known value the mass underflows to noise: compare what is well known.
    np.testing.assert_allclose(fast, slow, rtol=1e-6, atol=1e-6, equal_nan=True)


def test_a_constant_stays_what_it_is_from_the_first_point_on() -> None:
    np.testing.assert_allclose(smooth(np.full(1000, 2.5), 0.99), 2.5)


def test_weight_zero_changes_nothing() -> None:
    values = np.array([3.0, 1.0, 2.0])
    np.testing.assert_array_equal(smooth(values, 0.0), values)


def test_a_weight_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="weight"):
        smooth(np.ones(3), 1.0)
