"""Presets change what they say and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import RecipeInvalid
from studio.core.recipe.check import check_recipe
from studio.core.recipe.diff import Change, diff_recipes
from studio.core.recipe.fields import get_field_table
from studio.core.recipe.load import parse_recipe, set_values
from studio.core.recipe.presets import Preset, apply_preset, is_applied, load_presets
from studio.core.recipe.upgrade import upgrade_mapping

RAW: dict[str, Any] = {"base": {"model": "m"}, "data": {"train": [{"source": "a.jsonl"}]}}


@pytest.mark.parametrize("preset", load_presets(), ids=lambda preset: preset.key)
def test_a_shipped_preset_can_be_applied_without_warnings(preset: Preset) -> None:
    before = set_values(parse_recipe(RAW), ["name=mine", "train.seed=7", "adapter.rank=3"])
    after = apply_preset(before, preset)
    changed = {change.path for change in diff_recipes(before, after)}
    assert changed
    assert changed <= preset.values.keys() <= get_field_table().keys()
    assert [p for p in check_recipe(after) if p.severity != "note"] == []
    assert (after.name, after.train.seed) == ("mine", 7)
    assert is_applied(after, preset)
    assert not is_applied(before, preset)
    assert preset.name
    assert preset.description.endswith(".")


def test_the_recommended_preset_comes_first_and_equals_the_defaults() -> None:
    presets = load_presets()
    assert [preset.key for preset in presets] == [
        "balanced", "quick-look", "style-and-tone", "learn-facts", "small-memory",
    ]  # fmt: skip
    assert is_applied(parse_recipe(RAW), presets[0])


def test_every_preset_sets_the_same_keys_so_that_one_replaces_another() -> None:
    presets = load_presets()
    recipe = parse_recipe(RAW)
    for first in presets:
        for second in presets:
            by_way_of = apply_preset(apply_preset(recipe, first), second)
            assert diff_recipes(by_way_of, apply_preset(recipe, second)) in (
                [],
                [Change("train.epochs", by_way_of.train.epochs, recipe.train.epochs)],
            )


def test_a_preset_may_replace_validation_files_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    recipe = parse_recipe({**RAW, "data": {**RAW["data"], "validation": [{"source": "v"}]}})
    preset = Preset("x", "X", "x.", {"data.validation.fraction": 0.1})
    assert apply_preset(recipe, preset).data.validation.model_dump() == {"fraction": 0.1}
    with pytest.raises(RecipeInvalid, match=r"adapter\.rnk: unknown key"):
        apply_preset(recipe, Preset("x", "X", "x.", {"adapter.rnk": 1}))
    (tmp_path / "1-a.yaml").write_text("name: A\n")
    with pytest.raises(RecipeInvalid, match="is not a preset"):
        load_presets(tmp_path)


def test_differences_are_told_setting_by_setting() -> None:
    before = parse_recipe(RAW)
    after = set_values(before, ["train.steps=5", "data.train[0].limit=3", "name=b"])
    changes = {change.path: (change.before, change.after) for change in diff_recipes(before, after)}
    assert changes.keys() == {"name", "data.train", "train.steps"}
    assert changes["train.steps"] == (None, 5)
    assert changes["data.train"][1][0]["limit"] == 3
    files = parse_recipe({**RAW, "data": {**RAW["data"], "validation": [{"source": "v"}]}})
    assert [change.path for change in diff_recipes(before, files)] == ["data.validation"]


def test_a_recipe_without_version_is_of_today_and_a_newer_one_is_refused() -> None:
    assert upgrade_mapping({"name": "x"}) == {"name": "x", "version": 1}
    with pytest.raises(RecipeInvalid, match="format version 9") as caught:
        upgrade_mapping({"version": 9})
    assert "Update" in caught.value.remedy
    for wrong in (0, True, "1"):
        with pytest.raises(RecipeInvalid, match="must be a whole number"):
            upgrade_mapping({"version": wrong})
