"""Patterns, layer numbers and exceptions mean what peft and the recipe's description say."""

from __future__ import annotations

import pytest

from studio.core.errors import RecipeInvalid
from studio.core.recipe.schema import AdapterOverride, AdapterSettings
from studio.core.weights.matching import (
    Candidate,
    choose_modules,
    get_part,
    is_match,
    parse_layers,
    split_layer,
)

_NAMES = [
    f"model.layers.{layer}.{inner}"
    for layer in range(12)
    for inner in ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj")
]
_CANDIDATES = [
    Candidate("model.embed_tokens", is_linear=False),
    *map(Candidate, _NAMES),
    Candidate("lm_head", is_head=True),
]


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("q_proj", "model.layers.0.self_attn.q_proj", True),
        ("self_attn.q_proj", "model.layers.0.self_attn.q_proj", True),
        ("proj", "model.layers.0.self_attn.q_proj", False),
        ("model.layers.*.mlp.*", "model.layers.3.mlp.up_proj", True),
        ("*.1.mlp.*", "model.layers.11.mlp.up_proj", False),
        ("Q_PROJ", "model.layers.0.self_attn.q_proj", False),
    ],
)
def test_a_pattern_is_an_ending_or_matches_the_whole_name(
    pattern: str, name: str, expected: bool
) -> None:
    assert is_match(pattern, name) is expected


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("8-11", {8, 9, 10, 11}),
        ("0,2,5-7", {0, 2, 5, 6, 7}),
        (" 3 ", {3}),
        ((1, 4), {1, 4}),
        ("all", None),
    ],
)
def test_layer_numbers_are_read(setting: str | tuple[int, ...], expected: set[int] | None) -> None:
    assert parse_layers(setting) == expected


@pytest.mark.parametrize("setting", ["", "a", "5-3", "1-", "0-999999999", "1;2", (), (-1,), "٣-x"])
def test_layer_numbers_that_mean_nothing_are_refused(setting: str | tuple[int, ...]) -> None:
    with pytest.raises(RecipeInvalid, match=r"adapter\.layers"):
        parse_layers(setting)


def test_all_linear_leaves_out_the_head_and_embeddings_and_patterns_may_name_them() -> None:
    everything = [chosen.name for chosen in choose_modules(_CANDIDATES, AdapterSettings())]
    assert everything == _NAMES
    named = AdapterSettings(targets=("lm_head", "embed_tokens"))
    chosen = [module.name for module in choose_modules(_CANDIDATES, named)]
    assert chosen == ["model.embed_tokens", "lm_head"]


def test_the_first_exception_that_matches_wins() -> None:
    settings = AdapterSettings(
        rank=16,
        alpha=32,
        layers="0-1",
        overrides=(
            AdapterOverride(match="*.0.*", rank=2),
            AdapterOverride(match="q_proj", rank=4, alpha=1),
        ),
    )
    chosen = {m.name: (m.rank, m.alpha) for m in choose_modules(_CANDIDATES, settings)}
    assert chosen["model.layers.0.self_attn.q_proj"] == (2, 32)
    assert chosen["model.layers.1.self_attn.q_proj"] == (4, 1)
    assert chosen["model.layers.1.mlp.up_proj"] == (16, 32)


def test_layers_without_any_target_are_refused() -> None:
    settings = AdapterSettings(targets=("lm_head",), layers="3")
    with pytest.raises(RecipeInvalid, match="none of the target modules is in the chosen layers"):
        choose_modules(_CANDIDATES, settings)


@pytest.mark.parametrize(
    ("name", "layer", "part"),
    [
        ("model.layers.7.self_attn.q_proj", 7, "attention"),
        ("transformer.h.3.mlp.c_fc", 3, "mlp"),
        ("model.decoder.layers.1.fc1", 1, "mlp"),
        ("gpt_neox.layers.0.attention.query_key_value", 0, "attention"),
        ("model.layers.2.mlp.experts.5.w1", 2, "mlp"),
        ("bert.encoder.layer.4.attention.output.dense", 4, "attention"),
        ("bert.encoder.layer.4.output.dense", 4, "mlp"),
        ("model.layers.2.linear_attn.in_proj", 2, "attention"),
        ("lm_head", None, None),
        ("model.layers.2.router", 2, None),
    ],
)
def test_names_tell_layer_and_part(name: str, layer: int | None, part: str | None) -> None:
    assert split_layer(name)[0] == layer
    assert get_part(name) == part
