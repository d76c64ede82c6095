from __future__ import annotations

import pytest

from studio.core.errors import RecipeInvalid
from studio.core.weights.gains import LayerGain, divide_layers, get_gain, parse_gain

NAME = "model.layers.{}.{}"


def test_factors_are_multiplied_where_they_meet() -> None:
    gains = [parse_gain("0-3=0.5"), parse_gain("attention=0"), parse_gain("3:mlp=4")]
    found = [
        get_gain(gains, NAME.format(layer, inner))
        for layer, inner in ((3, "mlp.up_proj"), (4, "mlp.up_proj"), (4, "self_attn.q_proj"))
    ]
    assert found == [2.0, 1.0, 0.0]
    assert get_gain(gains, "lm_head") == 1.0


@pytest.mark.parametrize("text", ["0-3", "x=1", "3-1=1", "0:head=1", "0=much", "=nan="])
def test_what_is_no_strength_is_refused(text: str) -> None:
    with pytest.raises(RecipeInvalid):
        parse_gain(text)


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (2, [1, 1]), (32, [11, 10, 11]), (0, [])])
def test_every_layer_is_in_one_of_three_groups(count: int, sizes: list[int]) -> None:
    groups = [LayerGain(layers=layers) for layers in divide_layers(count).values()]
    found = [
        [layer for layer in range(count) if group.covers(NAME.format(layer, "mlp.up_proj"))]
        for group in groups
    ]
    assert [len(one) for one in found] == sizes
    assert sorted(layer for one in found for layer in one) == list(range(count))
