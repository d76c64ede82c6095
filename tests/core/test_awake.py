"""A run at night is not put to sleep by Windows, and afterwards everything is as it was."""

from __future__ import annotations

import sys

import pytest

from studio.core.awake import CONTINUOUS, SYSTEM_REQUIRED, find_switch, kept_awake


def test_the_computer_stays_awake_for_the_block_alone() -> None:
    wishes: list[int] = []

    def switch(wish: int) -> int:
        wishes.append(wish)
        return CONTINUOUS

    def fail() -> None:
        with kept_awake(switch) as is_kept:
            assert is_kept
            assert wishes == [CONTINUOUS | SYSTEM_REQUIRED]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert wishes == [CONTINUOUS | SYSTEM_REQUIRED, CONTINUOUS]


def test_a_system_that_refuses_or_has_no_switch_is_left_alone() -> None:
    with kept_awake(lambda _: 0) as is_kept:
        assert not is_kept
    with kept_awake(None) as is_kept:
        assert not is_kept
    assert (find_switch() is None) == (sys.platform != "win32")
