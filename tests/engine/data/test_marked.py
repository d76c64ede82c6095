"""Marked rows are found as in a list of their numbers."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.engine.data import marked
from studio.engine.data.marked import MarkedRows


@given(
    flags=st.lists(st.booleans(), max_size=40),
    bounds=st.tuples(st.integers(-45, 45), st.integers(-45, 45)),
    block=st.integers(1, 9),
)
def test_marked_rows_are_those_of_a_list(
    flags: list[bool], bounds: tuple[int, int], block: int
) -> None:
    every = np.array(flags, dtype=np.bool_)
    plain = np.flatnonzero(every)
    with mock.patch.object(marked, "_BLOCK", block):
        rows = MarkedRows(every)
        assert len(rows) == len(plain)
        assert rows[slice(*bounds)].tolist() == plain[slice(*bounds)].tolist()
        assert [rows[place] for place in range(len(plain))] == plain.tolist()
        wanted = np.arange(len(flags))
        assert rows.find_places(wanted).tolist() == np.searchsorted(plain, wanted).tolist()
        with pytest.raises(IndexError):
            rows[len(plain)]
