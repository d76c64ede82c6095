"""The first steps take turns with several sizes, and the smallest that loses nothing stays."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.events.types import RunFinished, SettingResolved, StepFinished
from studio.core.recipe.load import load_recipe
from studio.engine.train import turns
from studio.engine.train.remembered import Remembered
from studio.engine.train.turns import TokenTurns, choose_smallest, list_sizes
from tests.engine.tiny_run import build_run, of_type, train_run

RATES = st.dictionaries(st.integers(1, 20000), st.floats(1e-3, 1e6), min_size=1, max_size=6)


@given(RATES)
def test_the_size_taken_is_the_smallest_within_three_per_cent(rates: dict[int, float]) -> None:
    chosen, best = choose_smallest(rates), max(rates.values())
    assert rates[chosen] * 1.03 >= best
    assert all(rate * 1.03 < best for size, rate in rates.items() if size < chosen)


@given(st.integers(1, 20000), st.integers(1, 20000))
def test_sizes_rise_hold_the_longest_example_and_end_at_the_most(longest: int, more: int) -> None:
    sizes = list_sizes(longest, most=longest + more)
    assert sizes[0] >= longest
    assert sizes[-1] == longest + more
    assert list(sizes) == sorted(set(sizes))
    assert all(later <= 2 * size for size, later in itertools.pairwise(sizes))


def _take(seconds_of: Callable[[int, int], float]) -> tuple[int, list[int], TokenTurns]:
    """Returns what is chosen where step ``n`` of a size takes so long for 1,000 tokens."""
    found = TokenTurns((512, 1024, 2048), Remembered(None, "tokens"))
    tried: list[int] = []
    while not found.is_over:
        tried.append(found.now)
        found.note(1000, seconds_of(found.now, len(tried)))
    return found.choose()[0], tried, found


@pytest.mark.parametrize(("launch", "chosen"), [(0.0, 512), (0.01, 512), (0.04, 1024), (1.0, 2048)])
def test_a_larger_size_is_taken_only_where_it_is_faster(launch: float, chosen: int) -> None:
    found, tried, _ = _take(lambda size, _: 1.0 + launch * 1000 / size)
    assert found == chosen
    assert tried == [2048, 512, 1024, 2048, 512, 1024, 2048]


def test_one_disturbed_step_and_the_first_one_decide_nothing() -> None:
    found, _, kept = _take(lambda _, step: {1: 9.0, 2: 5.0}.get(step, 1.0))
    assert found == 512
    assert (
        kept.choose()[1] == "the first steps took turns with 512, 1,024, 2,048: 100% of the "
        "best speed"
    )


def test_a_run_takes_turns_learns_the_same_and_remembers_the_size(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str) -> tuple[list[float], list[SettingResolved]]:
        layout = build_run(tmp_path / "runs" / name, tiny_base, tiny_chats, steps=9)
        events = train_run(layout)
        assert isinstance(events[-1], RunFinished)
        settled = [one for one in of_type(events, SettingResolved) if "micro_batch" in one.key]
        assert load_recipe(layout.recipe).train.micro_batch_tokens != "auto"
        return [one.loss for one in of_type(events, StepFinished)], settled

    plain, settled = run("plain")
    assert len(settled) == 1  # the steps are smaller than the smallest size worth trying
    monkeypatch.setattr(turns, "_SMALLEST_TOKENS", 40)
    losses, settled = run("turns")
    assert losses == pytest.approx(plain, rel=1e-4)
    assert len(settled) == 2
    assert settled[1].why.startswith("the first steps took turns with")
    _, again = run("again")
    assert [one.why for one in again] == ["measured on this computer before"]
    assert again[0].value == settled[1].value
