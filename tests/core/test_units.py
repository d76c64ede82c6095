"""Numbers are written as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core import units


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KB"),
        (1024**2 - 1, "1.0 MB"),
        (123 * 1024**2, "123 MB"),
        (8 * 1024**3, "8.0 GB"),
        (-1536, "-1.5 KB"),
        (None, "—"),
    ],
)
def test_sizes(size_bytes: float | None, text: str) -> None:
    assert units.format_bytes(size_bytes) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (9_999, "9,999"),
        (12_345, "12.3K"),
        (999_999, "1.00M"),
        (8_030_261_248, "8.03B"),
        (123_456_789, "123M"),
        (None, "—"),
    ],
)
def test_counts(count: float | None, text: str) -> None:
    assert units.format_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "40 ms"),
        (4.2, "4.2 s"),
        (9.99, "10 s"),
        (65, "1 min 5 s"),
        (3599.7, "1 h"),
        (3725, "1 h 2 min"),
        (183_600, "2 d 3 h"),
        (-65, "-1 min 5 s"),
        (math.inf, "—"),
        (None, "—"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert units.format_duration(seconds) == text


def test_rates() -> None:
    assert units.format_rate(1234, "tokens") == "1,234 tokens/s"
    assert units.format_things(1, "row") == "1 row"
    assert units.format_things(2000, "row") == "2,000 rows"
    assert units.format_rate(2.5, "steps") == "2.5 steps/s"
    assert units.format_rate(0.25, "steps") == "4.0 s per step"
    assert units.format_rate(0, "steps") == "0 steps/s"
    assert units.format_rate(None, "steps") == "—"


def test_losses() -> None:
    assert units.format_loss(1.23456) == "1.235"
    assert units.format_loss(0.00012) == "1.20e-04"
    assert units.format_loss(123.456) == "123.5"
    assert units.format_loss(math.nan) == "not a number"
    assert units.format_loss(math.inf) == "infinite"
    assert units.format_loss(None) == "—"


def test_shares() -> None:
    assert units.format_fraction(0.0123) == "1.23 %"
    assert units.format_fraction(0.95) == "95 %"
    assert units.format_fraction(1.0) == "100 %"
    assert units.format_fraction(0.00001) == "0.001 %"
    assert units.format_fraction(0) == "0 %"
    assert units.format_fraction(None) == "—"


@given(st.floats(min_value=0, max_value=1e15))
def test_no_number_is_too_odd_to_be_shown(number: float) -> None:
    for text in (
        units.format_bytes(number),
        units.format_count(number),
        units.format_duration(number),
        units.format_rate(number, "tokens"),
        units.format_loss(number),
    ):
        assert 0 < len(text) <= 24
