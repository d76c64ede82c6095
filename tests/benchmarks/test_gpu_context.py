"""The search for the longest text that fits asks few times and ends close to the limit."""

from __future__ import annotations

import pytest

from tests.benchmarks.gpu_context import LONGEST, SHORTEST, find_longest
from tests.benchmarks.gpu_memory import Case, build_cases


@pytest.mark.parametrize("limit", [0, 255, 256, 300, 1000, 5_000, 77_777, LONGEST, 10 * LONGEST])
def test_the_longest_text_is_found_to_a_sixteenth(limit: int) -> None:
    asked: list[int] = []

    def fits(tokens: int) -> bool:
        asked.append(tokens)
        return tokens <= limit

    found = find_longest(fits, SHORTEST, LONGEST)
    if limit < SHORTEST:
        assert found == 0
    else:
        assert found <= min(limit, LONGEST) <= found * 17 / 16 + 1
    assert len(asked) <= 16
    assert len(set(asked)) == len(asked)


def test_every_model_is_measured_in_4_bits_as_well() -> None:
    cases = build_cases(("Llama-3.1-8B",), (2048,))
    assert Case("Llama-3.1-8B", "all", 2048, quantisation="nf4") in cases
    assert len(cases) == 4
