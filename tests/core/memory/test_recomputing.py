"""Only as many layers recompute as the memory asks for: the cheapest choice that fits."""

from __future__ import annotations

from itertools import combinations_with_replacement

from hypothesis import given
from hypothesis import strategies as st

from studio.core.memory.recomputing import Checkpointing, Recomputing, choose_recomputing

MODES: tuple[Checkpointing, ...] = ("none", "mlp", "all")


@given(
    layers=st.integers(1, 7),
    sizes=st.tuples(st.integers(40, 100), st.integers(10, 40), st.integers(1, 10)),
    costs=st.tuples(st.just(0), st.integers(1, 30), st.integers(30, 60)),
    room=st.integers(0, 700),
)
def test_no_other_choice_that_fits_is_cheaper(
    layers: int, sizes: tuple[int, ...], costs: tuple[int, ...], room: int
) -> None:
    size_of = dict(zip(MODES, sizes, strict=True))
    cost_of = dict(zip(MODES, costs, strict=True))
    choice = choose_recomputing(layers, size_of, cost_of, room)
    assert choice.layers == layers
    every = list(combinations_with_replacement(MODES, layers))
    fitting = [
        sum(cost_of[mode] for mode in modes)
        for modes in every
        if sum(size_of[mode] for mode in modes) <= room
    ]
    if not fitting:
        assert choice == Recomputing(all=layers)
        return
    assert sum(size_of[mode] for mode in choice.modes) <= room
    assert sum(cost_of[mode] for mode in choice.modes) == min(fitting)


def test_layers_that_recompute_more_lie_lower() -> None:
    choice = Recomputing(none=1, mlp=2, all=1)
    assert choice.modes == ("all", "mlp", "mlp", "none")
    assert choice.strongest == "all"
    assert choice.shares == {"all": 0.25, "mlp": 0.5, "none": 0.25}
    assert str(choice) == "all in 1, mlp in 2 of 4 layers"
    assert str(Recomputing(mlp=3)) == "mlp"


def test_a_model_without_inner_parts_is_given_whole_layers() -> None:
    choice = choose_recomputing(4, {"none": 10, "all": 1}, {"none": 0, "all": 3}, 25)
    assert choice == Recomputing(none=2, all=2)
