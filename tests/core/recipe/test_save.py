"""A saved recipe reads back equal, whatever was typed into it, also with another YAML reader."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import FileUnusable
from studio.core.recipe.load import load_recipe, parse_recipe
from studio.core.recipe.save import dump_recipe, save_recipe
from studio.core.recipe.schema import AdapterSettings, BaseSettings, Recipe
from studio.core.recipe.schema_data import DataSettings, DataSource, ValidationFraction
from studio.core.recipe.schema_train import TrainSettings
from studio.core.recipe.yaml_text import parse_yaml

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
_TRICKY = st.sampled_from(
    [
        "no",
        "2e-4",
        "1_000",
        "0x10",
        "~",
        "null",
        "12:30",
        "2026-01-02",
        " a ",
        "a\nb\n\nc",
        "a: b",
        "- x",
        "#",
        "'",
        "\u2028",
        "\x85",
        "=",
        "<<",
        "*a",
        "&a",
        "é 日本 🎈",
        "True",
        ".inf",
        "-",
    ]
)
_WORDS = st.one_of(_TEXT, _TRICKY)
_COUNTS = st.one_of(st.just("auto"), st.integers(1, 10**9))
_SOURCES = st.builds(
    DataSource,
    source=_WORDS,
    columns=st.dictionaries(_WORDS, _WORDS, max_size=3),
    limit=st.none() | st.integers(1, 10**12),
    weight=st.floats(1e-9, 1000),
)
_RECIPES = st.builds(
    Recipe,
    name=_WORDS,
    base=st.builds(BaseSettings, model=_WORDS, revision=st.none() | _WORDS),
    data=st.builds(
        DataSettings,
        train=st.lists(_SOURCES, min_size=1, max_size=3).map(tuple),
        validation=st.one_of(
            st.builds(ValidationFraction, fraction=st.floats(0, 0.5)),
            st.lists(_SOURCES, min_size=1, max_size=2).map(tuple),
        ),
        max_tokens=_COUNTS,
        pack=st.booleans(),
    ),
    adapter=st.builds(
        AdapterSettings,
        rank=st.integers(1, 4096),
        alpha=st.floats(1e-6, 65536),
        targets=st.one_of(st.just("mlp"), st.lists(_WORDS, min_size=1, max_size=3).map(tuple)),
        layers=st.sampled_from(["all", "8-23", "0,2,5-7", (0, 3), "7"]),
    ),
    train=st.builds(
        TrainSettings,
        learning_rate=st.floats(1e-12, 1),
        sample_prompts=st.lists(_WORDS, max_size=3).map(tuple),
        devices=st.sampled_from(["auto", "cpu", "cuda:1", 1]),
    ),
)


@settings(deadline=None, max_examples=50)
@given(_RECIPES)
def test_a_recipe_survives_its_text(recipe: Recipe) -> None:
    assert parse_recipe(parse_yaml(dump_recipe(recipe), "text")) == recipe


@settings(deadline=None, max_examples=50)
@given(_WORDS)
def test_texts_stay_texts_for_readers_of_yaml_1_1_too(text: str) -> None:
    recipe = parse_recipe(
        {"base": {"model": "m"}, "data": {"train": [{"source": text}], "template": text}}
    )
    read = yaml.safe_load(dump_recipe(recipe))
    assert (read["data"]["train"][0]["source"], read["data"]["template"]) == (text, text)


def test_the_file_has_the_keys_in_the_order_of_the_format(tmp_path: Path) -> None:
    recipe = parse_recipe(
        {
            "train": {"sample_prompts": ["First line\nSecond line"]},
            "data": {"train": [{"source": "a.jsonl"}]},
            "base": {"model": "m"},
        }
    )
    save_recipe(recipe, tmp_path / "r.yaml")
    text = (tmp_path / "r.yaml").read_text(encoding="utf-8")
    top = [line.split(":")[0] for line in text.splitlines() if line[0] not in " -"]
    assert top == ["version", "name", "task", "base", "data", "adapter", "train"]
    assert "sample_prompts:\n  - |-\n    First line\n    Second line\n" in text
    assert load_recipe(tmp_path / "r.yaml") == recipe
    assert [path.name for path in tmp_path.iterdir()] == ["r.yaml"]


def test_saving_into_a_missing_folder_is_told_in_words(tmp_path: Path) -> None:
    recipe = parse_recipe({"base": {"model": "m"}, "data": {"train": [{"source": "a"}]}})
    with pytest.raises(FileUnusable, match="cannot be written"):
        save_recipe(recipe, tmp_path / "missing" / "r.yaml")
