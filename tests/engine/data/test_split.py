"""Holding back rows: by content, never on both sides."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from studio.engine.data.example import Flags
from studio.engine.data.split import hold_back

DIGESTS = st.lists(st.binary(min_size=1, max_size=2), max_size=60)


def _choose(digests: list[bytes], fraction: float) -> Flags:
    keys = np.array(digests, dtype="S16")
    return hold_back([keys], [np.ones(len(keys), dtype=np.bool_)], fraction)[0]


@given(digests=DIGESTS, fraction=st.floats(0, 0.5))
def test_equal_rows_stay_together_and_both_sides_have_rows(
    digests: list[bytes], fraction: float
) -> None:
    held = _choose(digests, fraction)
    assert len(held) == len(digests)
    chosen = {digest for digest, flag in zip(digests, held, strict=True) if flag}
    kept = {digest for digest, flag in zip(digests, held, strict=True) if not flag}
    assert not chosen & kept
    if fraction > 0 and len(set(digests)) > 1:
        assert chosen
        assert kept
    if fraction == 0:
        assert not chosen


@given(digests=DIGESTS, fraction=st.floats(0, 0.5), order=st.randoms())
def test_the_order_of_the_rows_does_not_matter(
    digests: list[bytes], fraction: float, order: object
) -> None:
    def chosen(rows: list[bytes]) -> set[bytes]:
        flags = _choose(rows, fraction)
        return {row for row, flag in zip(rows, flags, strict=True) if flag}

    assert chosen(digests) == chosen(sorted(digests))


@given(count=st.integers(2, 300), fraction=st.floats(0.01, 0.5))
def test_the_share_is_exact_where_no_rows_are_equal(count: int, fraction: float) -> None:
    digests = [number.to_bytes(4, "big") for number in range(count)]
    assert sum(_choose(digests, fraction)) == min(count - 1, max(1, round(fraction * count)))
