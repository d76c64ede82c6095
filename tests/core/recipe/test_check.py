"""Settings that do not fit each other, the model, the data or the disk are told by their key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from studio.core.recipe.check import check_recipe
from studio.core.recipe.load import parse_recipe
from studio.core.recipe.problem import Problem
from studio.core.recipe.schema import Recipe
from studio.core.weights.header import TensorEntry
from studio.core.weights.layers import ModelLayers, build_layers


def _recipe(**settings: Mapping[str, Any]) -> Recipe:
    raw: dict[str, Any] = {"base": {"model": "m"}, "data": {"train": [{"source": "a.jsonl"}]}}
    for name, values in settings.items():
        raw[name] = {**raw.get(name, {}), **values}
    return parse_recipe(raw)


@pytest.fixture
def layers() -> ModelLayers:
    shapes = {
        "self_attn.q_proj": (128, 128),
        "self_attn.k_proj": (16, 128),
        "mlp.up_proj": (256, 128),
    }
    entries = [
        TensorEntry(f"model.layers.{layer}.{name}.weight", "F32", shape, 0, 4 * shape[0] * shape[1])
        for layer in range(4)
        for name, shape in shapes.items()
    ]
    config = {"model_type": "llama", "max_position_embeddings": 512}
    return build_layers(Path("m"), config, entries)


def _only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    assert problems[0].remedy
    return problems[0]


def test_the_defaults_have_no_problems(layers: ModelLayers) -> None:
    assert check_recipe(_recipe(), layers=layers, rows=2000) == []


@pytest.mark.parametrize(
    ("settings", "path", "severity", "words"),
    [
        ({"adapter": {"rank": 4}}, None, "", ""),
        ({"adapter": {"rank": 2}}, "adapter.alpha", "warning", "multiplied by 16"),
        ({"adapter": {"alpha": 1}}, "adapter.alpha", "warning", "very weakly"),
        (
            {"adapter": {"rank": 256, "alpha": 256, "variant": "rslora"}},
            "adapter.alpha",
            "warning",
            "multiplied by 16",
        ),
        (
            {"adapter": {"overrides": [{"match": "*.mlp.*", "rank": 1}]}},
            "adapter.overrides[0]",
            "warning",
            "rank 1 and alpha 32",
        ),
        ({"adapter": {"rank": 64, "alpha": 64}}, "adapter.variant", "note", "rslora"),
        ({"adapter": {"dropout": 0.6}}, "adapter.dropout", "warning", "60 %"),
        ({"train": {"learning_rate": 0.02}}, "train.learning_rate", "warning", "very high"),
        ({"train": {"learning_rate": 1e-8}}, "train.learning_rate", "warning", "so low"),
        ({"adapter": {"rank": "full"}}, "train.learning_rate", "note", "a tenth"),
        (
            {"train": {"learning_rate": 5e-3, "lora_plus_ratio": 16}},
            "train.lora_plus_ratio",
            "warning",
            "0.08 for B",
        ),
        ({"train": {"steps": 10, "epochs": 5}}, "train.epochs", "note", "steps (10) decides"),
        (
            {"train": {"steps": 10, "evaluate_every_steps": 50}},
            "train.evaluate_every_steps",
            "warning",
            "before the first validation",
        ),
        ({"train": {"warmup_fraction": 0.6}}, "train.warmup_fraction", "warning", "60 %"),
        ({"train": {"sample_every_steps": 5}}, "train.sample_every_steps", "note", "no sample"),
        (
            {"data": {"validation": {"fraction": 0}}},
            "train.early_stopping_patience",
            "note",
            "cannot stop early",
        ),
        (
            {
                "data": {"validation": {"fraction": 0}},
                "train": {"early_stopping_patience": 0, "evaluate_every_steps": 5},
            },
            "train.evaluate_every_steps",
            "note",
            "nothing to measure",
        ),
        (
            {"data": {"validation": [{"source": "b.jsonl"}, {"source": "a.jsonl"}]}},
            "data.validation[1].source",
            "warning",
            "trained on as well",
        ),
        ({"data": {"max_tokens": 8}}, "data.max_tokens", "warning", "longer than 8 tokens"),
        (
            {"data": {"max_tokens": 512}, "train": {"micro_batch_tokens": 256}},
            "train.micro_batch_tokens",
            "warning",
            "512 tokens",
        ),
    ],
)
def test_settings_that_do_not_fit_each_other_are_told(
    settings: dict[str, Any], path: str | None, severity: str, words: str
) -> None:
    problems = check_recipe(_recipe(**settings))
    if path is None:
        assert problems == []
        return
    problem = _only(problems)
    assert (problem.path, problem.severity) == (path, severity)
    assert words in problem.message


@pytest.mark.parametrize(
    ("settings", "path", "severity", "words"),
    [
        ({"adapter": {"layers": "2-4"}}, "adapter.layers", "error", "layer 4 does not exist"),
        ({"adapter": {"targets": ["x_proj"]}}, "adapter.targets", "error", "matches no layer"),
        (
            {"adapter": {"overrides": [{"match": "zzz"}]}},
            "adapter.overrides[0].match",
            "error",
            "matches none",
        ),
        (
            {"adapter": {"rank": 32}},
            "adapter.rank",
            "warning",
            "4 of the 12 adapted modules can use: model.layers.0.self_attn.k_proj can use 16",
        ),
        (
            {"adapter": {"rank": 60, "targets": ["q_proj", "up_proj"]}},
            "adapter.rank",
            "note",
            "as many parameters as the model itself",
        ),
        ({"data": {"max_tokens": 1024}}, "data.max_tokens", "error", "at most 512 tokens"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_told(
    layers: ModelLayers, settings: dict[str, Any], path: str, severity: str, words: str
) -> None:
    problem = _only(check_recipe(_recipe(**settings), layers=layers))
    assert (problem.path, problem.severity) == (path, severity)
    assert words in problem.message


@pytest.mark.parametrize(
    ("settings", "rows", "path"),
    [
        ({}, 60, "data.validation.fraction"),
        (
            {"data": {"validation": {"fraction": 0.5}}, "train": {"batch_sequences": 32}},
            30,
            "train",
        ),
        ({"adapter": {"dropout": 0.05}}, 20_000, "adapter.dropout"),
    ],
)
def test_settings_that_do_not_fit_the_number_of_rows_are_told(
    settings: dict[str, Any], rows: int, path: str
) -> None:
    assert _only(check_recipe(_recipe(**settings), rows=rows)).path.startswith(path)


@pytest.mark.parametrize(
    ("adapter", "path"),
    [
        ({"extra_modules": ["embed_tokens"]}, "adapter.extra_modules"),
        ({"targets": ["q_proj", "embed_tokens"]}, "adapter.targets"),
        ({"extra_modules": ["embed_tokens", "lm_head"]}, None),
        ({"extra_modules": ["lm_head"]}, None),
        ({"extra_modules": ["norm"]}, None),
    ],
)
@pytest.mark.parametrize("is_tied", [True, False])
def test_a_shared_table_trained_on_its_input_side_only_is_told(
    adapter: dict[str, Any], path: str | None, is_tied: bool
) -> None:
    sizes = {"embed_tokens": (64, 32), "layers.0.self_attn.q_proj": (32, 32), "norm": (32,)}
    shapes = {f"model.{name}": shape for name, shape in sizes.items()} | {"lm_head": (64, 32)}
    entries = [TensorEntry(f"{name}.weight", "F32", shape, 0, 1) for name, shape in shapes.items()]
    config = {"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": is_tied}
    recipe = _recipe(adapter={"rank": 1, "alpha": 2} | adapter)
    problems = check_recipe(recipe, layers=build_layers(Path("m"), config, entries))
    found = [one for one in problems if "table of word vectors" in one.message]
    assert [one.path for one in found] == ([path] if path and is_tied else [])
    assert all("lm_head" in one.remedy and one.severity == "warning" for one in found)


def test_a_continued_adapter_brings_its_own_targets(layers: ModelLayers) -> None:
    recipe = _recipe(adapter={"targets": ["nowhere"], "resume_from": "a"})
    assert check_recipe(recipe, layers=layers) == []


def _write_model(folder: Path) -> None:
    config = LlamaConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=8
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")


def test_missing_files_are_told_each_beside_its_key(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    recipe = _recipe(
        data={
            "train": [{"source": "a.jsonl"}, {"source": "empty.jsonl"}],
            "validation": [{"source": "none"}],
            "template": "chat.jinja",
        },
        adapter={"resume_from": "old"},
    )
    problems = check_recipe(recipe, base_folder=tmp_path)
    assert {problem.path: problem.severity for problem in problems} == dict.fromkeys(
        [
            "base.model",
            "data.train[0].source",
            "data.train[1].source",
            "data.validation[0].source",
            "data.template",
            "adapter.resume_from",
        ],
        "error",
    )
    assert all(problem.remedy for problem in problems)


def test_files_that_are_there_are_accepted_and_a_saved_rank_is_told(tmp_path: Path) -> None:
    _write_model(tmp_path / "m")
    (tmp_path / "a.jsonl").write_text("{}\n")
    assert check_recipe(_recipe(), base_folder=tmp_path) == []
    (tmp_path / "old").mkdir()
    (tmp_path / "old/adapter_model.safetensors").touch()
    (tmp_path / "old/adapter_config.json").write_text('{"r": 4}')
    recipe = _recipe(adapter={"resume_from": "old"})
    problem = _only(check_recipe(recipe, base_folder=tmp_path))
    assert (problem.path, problem.severity) == ("adapter.rank", "note")
    (tmp_path / "old/adapter_config.json").write_text("{")
    assert _only(check_recipe(recipe, base_folder=tmp_path)).path == "adapter.resume_from"
    (tmp_path / "m/tokenizer.json").unlink()
    assert _only(check_recipe(_recipe(), base_folder=tmp_path)).path == "base.model"


def test_patterns_for_experts_mean_the_stacks_of_the_loaded_model() -> None:
    """Files list experts one by one, loading joins them; the check knows both."""
    parts = {"gate_proj": (16, 8), "up_proj": (16, 8), "down_proj": (8, 16)}
    entries = [
        TensorEntry(f"model.layers.0.mlp.experts.{expert}.{part}.weight", "F32", shape, 0, 512)
        for expert in range(4)
        for part, shape in parts.items()
    ]
    layers = build_layers(Path("m"), {"model_type": "qwen3_moe"}, entries)
    adapter = {"targets": ["*.experts.*"], "rank": 4, "alpha": 8}
    assert not [
        p for p in check_recipe(_recipe(adapter=adapter), layers=layers) if p.severity == "error"
    ]
    wrong = check_recipe(_recipe(adapter=adapter | {"targets": ["*.experts.side"]}), layers=layers)
    assert "experts.side" in next(p for p in wrong if p.severity == "error").message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"adapter": {"keep_zeros": True, "rank": "full"}}, "no adapter"),
        ({"adapter": {"keep_zeros": True}, "base": {"quantisation": "nf4"}}, "4 bits"),
    ],
)
def test_keeping_zeros_needs_an_adapter_and_the_weights_of_the_files(
    settings: dict[str, Any], words: str
) -> None:
    found = [one for one in check_recipe(_recipe(**settings)) if one.path == "adapter.keep_zeros"]
    assert [one.severity for one in found] == ["error"]
    assert words in found[0].message
    assert not check_recipe(_recipe(adapter={"keep_zeros": True}))
