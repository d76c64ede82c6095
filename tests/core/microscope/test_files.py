"""The file of losses is cut where an earlier step begins, without reading all of it at once."""

from __future__ import annotations

import io

import pytest

from studio.core.microscope import files
from studio.core.microscope.files import LOSSES_MAGIC, find_end, pack_step


def test_the_end_of_a_step_is_found_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [pack_step(step, [(row, 1.0, 0.0) for row in range(step % 3 + 1)]) for step in range(9)]
    whole = LOSSES_MAGIC + b"".join(steps)
    torn = io.BytesIO(whole + b"abc")
    for block in (8, 16, 24, 1 << 20):
        monkeypatch.setattr(files, "_BLOCK_BYTES", block)
        for step in range(9):
            assert find_end(torn, step) == len(LOSSES_MAGIC) + sum(map(len, steps[:step]))
        assert find_end(torn, 9) == len(whole)
        assert find_end(io.BytesIO(LOSSES_MAGIC), 0) == len(LOSSES_MAGIC)
