"""Presets change what they say and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import RecipeInvalid
from studio.core.recipe.check import check_recipe
from studio.core.recipe.diff import diff_recipes
from studio.core.recipe.fields import get_field_table
from studio.core.recipe.load import parse_recipe, set_values
from studio.core.recipe.presets import Preset, load_presets
from studio.core.recipe.schema import Recipe
from studio.core.recipe.upgrade import upgrade_mapping

RAW: dict[str, Any] = {"base": {"model": "m"}, "data": {"train": [{"source": "a.jsonl"}]}}


def _apply(preset: Preset, recipe: Recipe) -> Recipe:
    texts = [f"{path}={json.dumps(value)}" for path, value in preset.values.items()]
    return set_values(recipe, texts)


@pytest.mark.parametrize("preset", load_presets(), ids=lambda preset: preset.key)
def test_a_shipped_preset_can_be_applied_without_warnings(preset: Preset) -> None:
    before = set_values(parse_recipe(RAW), ["name=mine", "train.seed=7", "adapter.rank=3"])
    after = _apply(preset, before)
    assert after != before
    assert preset.values.keys() <= get_field_table().keys()
    assert [p for p in check_recipe(after) if p.severity != "note"] == []
    assert preset.name
    assert preset.description.endswith(".")


def test_the_recommended_preset_comes_first_and_equals_the_defaults() -> None:
    presets = load_presets()
    assert [preset.key for preset in presets] == [
        "balanced", "quick-look", "style-and-tone", "learn-facts", "small-memory",
    ]  # fmt: skip
    assert _apply(presets[0], parse_recipe(RAW)) == parse_recipe(RAW)


def test_every_preset_sets_the_same_keys_so_that_one_replaces_another() -> None:
    presets = load_presets()
    # where the steps are given, epochs do not count
    keys = [preset.values.keys() - {"train.epochs"} for preset in presets]
    assert all(one == keys[0] for one in keys)


def test_a_broken_preset_is_refused(tmp_path: Path) -> None:
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
