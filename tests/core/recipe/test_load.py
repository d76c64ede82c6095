"""A recipe that breaks a rule is refused with its key, the reason and what to write instead."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import FileUnusable, NotAvailableYet, RecipeInvalid
from studio.core.recipe.fields import get_field_table
from studio.core.recipe.load import MAX_RECIPE_BYTES, load_recipe, parse_recipe, set_values
from studio.core.recipe.problem import Problem

BASE = "base: {model: m}\ndata:\n  train:\n    - {source: a.jsonl}\n"
RAW: dict[str, Any] = {"base": {"model": "m"}, "data": {"train": [{"source": "a.jsonl"}]}}

# The example of the format's description, key by key.
EXAMPLE = """
version: 1
name: support-tone                # a comment
task: causal_lm
base: {model: path/or/org-name, revision: null, quantisation: none, dtype: auto, attention: auto}
data:
  train:
    - {source: data/train.jsonl, format: auto, columns: {}, split: train, limit: null, weight: 1.0}
  validation: {fraction: 0.05}
  template: auto
  supervise: responses
  max_tokens: auto
  pack: true
adapter:
  rank: 16
  alpha: 32
  dropout: 0.0
  targets: all-linear
  layers: all
  overrides: []
  variant: plain
  init: kaiming
  extra_modules: []
  resume_from: null
train:
  epochs: 2
  steps: null
  batch_sequences: 16
  micro_batch_tokens: auto
  learning_rate: 2.0e-4
  lora_plus_ratio: 1.0
  schedule: cosine
  warmup_fraction: 0.03
  optimizer: adamw
  weight_decay: 0.0
  max_gradient_norm: 1.0
  checkpointing: auto
  evaluate_every_steps: auto
  checkpoint_every_minutes: 5
  keep_checkpoints: 2
  early_stopping_patience: 3
  sample_prompts: []
  sample_every_steps: auto
  seed: 42
  devices: auto
"""


def _load(folder: Path, text: str | bytes) -> Any:
    path = folder / "recipe.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_recipe(path)


def _refuse(folder: Path, text: str | bytes) -> RecipeInvalid:
    with pytest.raises(RecipeInvalid) as caught:
        _load(folder, text)
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_described_example_says_nothing_but_the_defaults(tmp_path: Path) -> None:
    example = _load(tmp_path, EXAMPLE)
    short = _load(tmp_path, "name: support-tone\n" + BASE)
    assert example.adapter == short.adapter
    assert example.train == short.train
    assert example.data.validation == short.data.validation
    assert example.name == "support-tone"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("adapter: {rnk: 8}", "adapter.rnk: unknown key. Did you mean adapter.rank?"),
        ("rank: 8", "rank: unknown key. Did you mean adapter.rank?"),
        ("train: {lr: 1}", "train.lr: unknown key. Did you mean train.learning_rate?"),
        ("trian: {}", "trian: unknown key. Did you mean train?"),
        ("zzz: {}", "zzz: unknown key. Remove it, or check the spelling."),
        (
            "adapter: {rank: 0}",
            "adapter.rank: must be full or a whole number from 1 to 4,096, not 0.",
        ),
        (
            "adapter: {rank: true}",
            "adapter.rank: must be full or a whole number from 1 to 4,096, not true",
        ),
        (
            "adapter: {rank: '8'}",
            "adapter.rank: must be full or a whole number from 1 to 4,096, not '8'.",
        ),
        ("adapter: {dropout: 1}", "adapter.dropout: must be a number from 0 to below 1, not 1."),
        ("adapter: {variant: x}", "adapter.variant: must be plain, rslora or dora, not x."),
        ("adapter: {targets: 5}", "or a list of name patterns, not 5."),
        ("adapter: {targets: [a, 5]}", "adapter.targets[1]: must be text, not 5. Put the value in"),
        ("adapter: {layers: 8-x}", "adapter.layers: '8-x' cannot be read as layer numbers."),
        ("adapter: {layers: [-1]}", "adapter.layers: -1 is no layer number."),
        ("adapter: {layers: [a]}", "adapter.layers[0]: must be a whole number, not a."),
        ("adapter: {layers: []}", "adapter.layers: names no layer."),
        ("adapter: {overrides: [{rank: 4}]}", "adapter.overrides[0].match: is missing."),
        ("adapter: {overrides: [5]}", "adapter.overrides[0]: must be a group of settings, not 5."),
        ("train: {steps: .inf}", "train.steps: must be a whole number of at least 1, or empty"),
        ("train: {max_gradient_norm: -1}", "must be a number from 0 to 1,000, not -1."),
        ("train: {evaluate_every_steps: 0}", "must be auto or a whole number of at least 1, not 0"),
        ("train: {devices: gpu}", "train.devices: must be auto, cpu, a card such as cuda:0"),
        ("train: {devices: 0}", "train.devices: must be auto, cpu, a card such as cuda:0"),
        ("train: 5", "train: must be a group of settings, not 5."),
        ("name: 5", "name: must be text, not 5. Put the value in quotes."),
        ("name: ''", "name: must not be empty."),
        (f"name: {'x' * 101}", "name: must be at most 100 characters long."),
        ("version: 2", "version: this recipe has format version 2, and this program knows"),
        ("version: one", "version: must be a whole number"),
    ],
)
def test_a_broken_rule_is_named_with_key_reason_and_remedy(
    tmp_path: Path, line: str, message: str
) -> None:
    error = _refuse(tmp_path, f"{BASE}{line}\n")
    assert message in str(error)
    assert type(error) is RecipeInvalid
    assert len(error.problems) == 1


def test_every_broken_rule_is_told_at_once_and_survives_the_way_between_processes(
    tmp_path: Path,
) -> None:
    error = _refuse(
        tmp_path,
        "base: {}\ndata:\n  train: [{source: a, weigt: 1}]\n  validation: [{frac: 1, source: b}]\n"
        "adapter: {rank: 0, alpha: big}\n",
    )
    paths = [problem.path for problem in error.problems]
    assert sorted(paths) == [
        "adapter.alpha",
        "adapter.rank",
        "base.model",
        "data.train[0].weigt",
        "data.validation[0].frac",
    ]
    assert "Did you mean data.train[0].weight?" in str(error)
    assert pickle.loads(pickle.dumps(error)).problems == error.problems  # noqa: S301 - our own


def test_very_many_problems_are_counted_rather_than_listed(tmp_path: Path) -> None:
    text = BASE + "\n".join(f"key{number}: 1" for number in range(30))
    error = _refuse(tmp_path, text)
    assert len(error.problems) == 30
    assert error.message.endswith("And 22 more.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "recipe.yaml is empty."),
        ("# only a comment\n", "recipe.yaml is empty."),
        ("- a\n- b\n", "recipe.yaml is not a recipe"),
        ("just text", "recipe.yaml is not a recipe"),
        ("a:\n\tb: 1\n", "recipe.yaml, line 2, column 1: a tab stands where spaces are needed."),
        ("name: a\nname: b\n", "recipe.yaml, line 2, column 1: the key name stands here a second"),
        ("a: &x [1]\nb: *x\n", "references (*name) are not allowed"),
        ("a: [1\nb: 2\n", "recipe.yaml, line 2"),
        ("a: !!python/object/apply:os.system ['true']\n", "recipe.yaml, line 1"),
        ("? [a, b]\n: 1\n", "a key must be text"),
        ("[" * 3000, "nested too deeply"),
        (b"\xff\xfe\x00", "recipe.yaml is not a text file."),
        (b"a: \x07\n", "characters that do not belong into a text file"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_words(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    assert message in str(_refuse(tmp_path, text))


def test_missing_and_huge_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable, match="does not exist"):
        load_recipe(tmp_path / "no.yaml")
    with pytest.raises(FileUnusable, match="read"):
        load_recipe(tmp_path)
    (tmp_path / "big.yaml").write_bytes(b"#" * (MAX_RECIPE_BYTES + 1))
    with pytest.raises(FileUnusable, match="too large for a recipe"):
        load_recipe(tmp_path / "big.yaml")


_LATER = [
    (spec.path, choice.value, [c.value for c in spec.choices if c.is_available])
    for spec in get_field_table().values()
    for choice in spec.choices
    if not choice.is_available and "[]" not in spec.path
]


@pytest.mark.parametrize(("path", "value", "available"), _LATER)
def test_a_value_that_comes_later_is_refused_and_the_alternatives_named(
    path: str, value: str, available: list[str]
) -> None:
    raw = json.loads(json.dumps(RAW))
    _put(raw, path, value)
    with pytest.raises(NotAvailableYet) as caught:
        parse_recipe(raw)
    assert caught.value.message == f"{path}: {value} is not available yet."
    assert all(choice in caught.value.remedy for choice in available)


def test_several_cards_come_later_and_are_told_beside_broken_rules(tmp_path: Path) -> None:
    error = _refuse(tmp_path, BASE + "train: {devices: 2}\n")
    assert isinstance(error, NotAvailableYet)
    assert [problem.path for problem in error.problems] == ["train.devices"]
    assert "cuda:0" in error.remedy
    mixed = _refuse(tmp_path, BASE + "train: {devices: 2}\nadapter: {rank: 0}\n")
    assert type(mixed) is RecipeInvalid
    assert len(mixed.problems) == 2


def test_plain_values_are_read_as_people_mean_them(tmp_path: Path) -> None:
    recipe = _load(
        tmp_path,
        BASE + "name: no\nadapter:\ntrain: {learning_rate: 2e-4, steps: 2e3, devices: 1}\n",
    )
    assert (recipe.name, recipe.train.learning_rate) == ("no", 2e-4)
    assert (recipe.train.steps, recipe.train.devices) == (2000, 1)
    assert _load(tmp_path, BASE + "name: 2026-01-02\n").name == "2026-01-02"
    assert _load(tmp_path, BASE + "adapter: {layers: 5}\n").adapter.layers == (5,)
    assert _load(tmp_path, "\ufeff" + BASE).base.model == "m"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {1, 2}, 10**400], ids=repr)
def test_values_that_no_file_can_hold_are_refused(value: object) -> None:
    with pytest.raises(RecipeInvalid, match=r"train\.learning_rate") as caught:
        parse_recipe({**RAW, "train": {"learning_rate": value}})
    assert len(caught.value.problems) == 1


def test_settings_are_changed_by_assignments() -> None:
    recipe = set_values(
        parse_recipe(RAW),
        [
            "train.steps=5",
            "name=123",
            "train.learning_rate=1e-3",
            "data.train.0.limit=7",
            "data.train[0].split=dev",
            "adapter.targets=[q_proj, v_proj]",
            "adapter.layers=0-3",
            "data.validation.fraction=0.1",
        ],
    )
    assert (recipe.train.steps, recipe.name, recipe.train.learning_rate) == (5, "123", 1e-3)
    assert (recipe.data.train[0].limit, recipe.data.train[0].split) == (7, "dev")
    assert recipe.adapter.targets == ("q_proj", "v_proj")
    assert recipe.data.validation.model_dump() == {"fraction": 0.1}
    assert set_values(recipe, ["train.steps="]).train.steps is None


def test_an_assignment_replaces_validation_files_by_a_share() -> None:
    recipe = parse_recipe({**RAW, "data": {**RAW["data"], "validation": [{"source": "v.jsonl"}]}})
    changed = set_values(recipe, ["data.validation.fraction=0.2"])
    assert changed.data.validation.model_dump() == {"fraction": 0.2}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.stps=5", "train.stps: unknown key. Did you mean train.steps?"),
        ("foo.bar=1", "foo.bar: unknown key. Check the spelling."),
        ("data.train[3].limit=1", "data.train[3].limit: unknown key."),
        ("train.steps.x=1", "train.steps: must be a whole number"),
        ("train.steps", "'train.steps' sets nothing."),
        ("=5", "'=5' sets nothing."),
        ("train.steps=[", "train.steps, line 1"),
        ("train.steps=0", "train.steps: must be a whole number of at least 1"),
        ("train.devices=2", "not available yet"),
    ],
)
def test_a_wrong_assignment_is_refused_in_words(assignment: str, message: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        set_values(parse_recipe(RAW), [assignment])
    assert message in str(caught.value)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


_PLACES = [*sorted(get_field_table()), "base", "data", "train", "adapter"]


def _put(raw: dict[str, Any], path: str, value: object) -> None:
    """Set a value deep in a raw recipe; ``[]`` means the first entry, made if it is missing."""
    place: Any = raw
    *groups, name = path.split(".")
    for group in groups:
        if group.endswith("[]"):
            entries = place.setdefault(group[:-2], [])
            entries[:] = entries or [{"source": "a", "match": "b"}]
            place = entries[0]
        else:
            place = place.setdefault(group, {})
    place[name] = value


def _find_problems(raw: dict[str, Any]) -> tuple[Problem, ...]:
    try:
        parse_recipe(raw)
    except RecipeInvalid as error:
        return error.problems or (Problem("", ""),)
    return ()


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(_PLACES), _ANYTHING)
def test_any_value_in_any_place_is_accepted_or_refused_in_words(path: str, value: object) -> None:
    raw = json.loads(json.dumps(RAW))
    _put(raw, path, value)
    assert all(problem.message for problem in _find_problems(raw))
