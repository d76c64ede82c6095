"""Maps of layers and modules, their measures in words and numbers, and the CSV files."""

from __future__ import annotations

import csv
import math

import pytest

from studio.core.events.measures import (
    AdapterMeasured,
    LayerSimilarity,
    ModuleLook,
    SimilarityMeasured,
)
from studio.core.inside.grid import build_grid, describe_cell
from studio.core.inside.measures import LOOK_MEASURES, format_look, get_value
from studio.core.inside.tables import build_modules_csv, build_similarities_csv


def look(name: str, norm: float = 1.0, base: float | None = 10.0, rank: float = 2.0) -> ModuleLook:
    return ModuleLook(
        name=name, rank=4, norm=norm, effective_rank=rank, stable_rank=1.5, base_norm=base
    )


def test_attention_stands_above_mlp_and_layers_are_in_order() -> None:
    modules = [
        look(f"model.layers.{layer}.{inner}")
        for layer in (10, 2)
        for inner in ("mlp.down_proj", "mlp.gate_proj", "self_attn.v_proj", "self_attn.q_proj")
    ]
    grid = build_grid([*modules, look("lm_head")])
    assert grid.kind_names == ("q_proj", "v_proj", "gate_proj", "down_proj", "lm_head")
    assert grid.layer_names == ("2", "10", "outside")
    values = grid.compute_values("norm")
    assert values[0] == [1.0, 1.0, None]
    assert values[-1] == [None, None, 1.0]
    assert "does not change" in describe_cell(grid, 0, 2)
    words = describe_cell(grid, 1, 1)
    assert words.startswith("Layer 10, self_attn.v_proj\n")
    assert "Change of the weight: 10 %" in words
    assert "Directions used: 2.0 of rank 4" in words


def test_experts_of_a_layer_share_a_square() -> None:
    norms = (3.0, 4.0)
    grid = build_grid(
        look(f"model.layers.0.mlp.experts.{expert}.up_proj", norm, base=5.0, rank=1.0 + expert)
        for expert, norm in enumerate(norms)
    )
    assert grid.kinds == ("mlp.experts.*.up_proj",)
    assert grid.compute_values("norm") == [[pytest.approx(5.0)]]
    assert grid.compute_values("relative_norm") == [[pytest.approx(5 / math.hypot(5, 5))]]
    assert grid.compute_values("effective_rank") == [[pytest.approx(1.5)]]
    assert "(2 modules)" in describe_cell(grid, 0, 0)


def test_two_kinds_of_one_name_are_told_apart() -> None:
    grid = build_grid([look("h.0.attn.c_proj"), look("h.0.mlp.c_proj")])
    assert grid.kind_names == ("attn.c_proj", "mlp.c_proj")


def test_an_unknown_base_is_unknown_and_not_zero() -> None:
    assert get_value("relative_norm", [look("a"), look("b", base=None)]) is None
    assert format_look("relative_norm", None) == "unknown"
    assert all(one.help for one in LOOK_MEASURES)


def test_the_files_hold_every_number() -> None:
    measured = AdapterMeasured(adapter="=evil", modules=(look("model.layers.3.mlp.up_proj"),))
    (line,) = csv.DictReader(build_modules_csv([measured]).splitlines())
    assert (line["adapter"], line["layer"]) == ("'=evil", "3")
    assert (line["relative_norm"], line["rank"]) == ("0.1", "4")
    layers = (LayerSimilarity(layer=0, cosine=-0.5), LayerSimilarity(layer=None, cosine=0.0))
    pair = SimilarityMeasured(adapter="a", other="b", cosine=0.25, layers=layers)
    lines = list(csv.DictReader(build_similarities_csv([pair]).splitlines()))
    assert [(one["layer"], one["cosine"]) for one in lines] == [
        ("all", "0.25"),
        ("0", "-0.5"),
        ("outside", "0.0"),
    ]
