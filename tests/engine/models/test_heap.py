"""Freed memory goes back to the system where it is asked to."""

from __future__ import annotations

import platform

import psutil
import pytest
import torch

from studio.engine.models.heap import return_gaps

_PIECES, _NUMBERS = 1000, 1 << 14


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems keep no gaps")
def test_gaps_between_pieces_that_stay_go_back_to_the_system() -> None:
    pieces = [torch.ones(_NUMBERS) for _ in range(_PIECES)]
    stays = [torch.ones(16) for _ in range(100)]
    before = psutil.Process().memory_info().rss
    del pieces
    return_gaps()
    freed = before - psutil.Process().memory_info().rss
    assert freed > _PIECES * _NUMBERS * 4 // 2
    assert all(float(one.sum()) == 16 for one in stays)
