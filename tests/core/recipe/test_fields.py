"""Forms and documentation can be drawn from the list of settings alone."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from studio.core.recipe.fields import FieldSpec, Kind, get_field_table, get_fields, iter_fields
from studio.core.recipe.load import parse_recipe
from studio.core.recipe.save import dump_recipe
from studio.core.recipe.yaml_text import parse_yaml


def test_every_setting_of_a_saved_recipe_is_listed_in_its_order() -> None:
    recipe = parse_recipe({"base": {"model": "m"}, "data": {"train": [{"source": "a"}]}})
    raw = parse_yaml(dump_recipe(recipe), "text")
    paths = []
    for key, value in raw.items():
        paths += [f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key]
    listed = [spec.path for spec in iter_fields() if "[]" not in spec.path]
    assert [path for path in listed if path != "data.validation.fraction"] == paths


@pytest.mark.parametrize("spec", get_fields(), ids=lambda spec: spec.path)
def test_every_setting_has_words_and_an_honest_default(spec: FieldSpec) -> None:
    assert spec.kind in get_args(Kind)
    assert spec.label[0].isupper()
    assert spec.help.endswith(".")
    assert spec.describe()
    assert spec.is_required or spec.is_available(spec.default)
    for choice in spec.choices:
        assert spec.is_available(choice.value) is choice.is_available
    if spec.kind in ("integer", "number") and spec.default is not None:
        assert spec.low is not None
        assert spec.low <= spec.default <= (spec.high or float("inf"))


def test_kinds_and_bounds_are_those_of_the_schema() -> None:
    table = get_field_table()
    rank, epochs = table["adapter.rank"], table["train.epochs"]
    assert (rank.kind, rank.low, rank.high, rank.level) == ("auto_count", 1, 4096, "essential")
    assert rank.word == "full"
    assert (epochs.kind, epochs.low, epochs.excludes_low, epochs.step) == ("number", 0, True, 0.5)
    assert table["train.steps"].is_optional
    assert table["data.max_tokens"].kind == "auto_count"
    assert table["data.train"].is_required
    assert next(item.name for item in table["data.train"].items) == "source"
    assert [item.name for item in table["data.validation"].alternative] == ["fraction"]
    assert not table["train.devices"].is_available(2)
    assert table["train.devices"].is_available("cuda:0")


def test_values_of_a_list_that_comes_later_are_told_apart_from_an_empty_one() -> None:
    spec = replace(get_field_table()["adapter.extra_modules"], later=frozenset({"*"}))
    assert spec.is_available([])
    assert not spec.is_available(["head"])
