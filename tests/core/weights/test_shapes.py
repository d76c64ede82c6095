"""The tensors told from a configuration are those of the published models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from studio.core.errors import ModelUnusable
from studio.core.weights.layers import build_layers
from studio.core.weights.shapes import build_tensors, is_known_family
from tests.core.memory.published import PUBLISHED

SMALL = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": None,
}
FAMILIES: dict[str, dict[str, object]] = {
    "llama": SMALL | {"attention_bias": True, "mlp_bias": True},
    "mistral": SMALL,
    "qwen2": SMALL,
    "qwen3": SMALL | {"head_dim": 16},
    "gemma": SMALL | {"head_dim": 16},
    "gemma2": SMALL | {"head_dim": 16},
    "gemma3_text": SMALL | {"head_dim": 16},
    "phi3": SMALL,
    "olmo2": SMALL,
    "granite": SMALL,
    "smollm3": SMALL,
    "mixtral": SMALL | {"num_local_experts": 4},
    "qwen3_moe": SMALL | {"num_experts": 4, "moe_intermediate_size": 24, "head_dim": 16},
    "gpt2": {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "gpt_neox": {k: v for k, v in SMALL.items() if k != "num_key_value_heads"},
    "phi": SMALL,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_have_the_published_number_of_parameters(name: str) -> None:
    config, parameters = PUBLISHED[name]
    layers = build_layers(Path(), config, build_tensors(config))
    assert layers.parameters == parameters


@pytest.mark.parametrize("kind", FAMILIES)
def test_shapes_are_those_of_the_model_that_transformers_builds(kind: str) -> None:
    settings = transformers.AutoConfig.for_model(kind, **FAMILIES[kind])
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(settings, trust_remote_code=False)
    config = settings.to_dict() | {"architectures": [type(model).__name__]}
    layers = build_layers(Path(), config, build_tensors(config))
    found = {m.name: (m.shape, m.parameters) for m in layers.modules if not is_expert(m.name)}
    expected: dict[str, tuple[tuple[int, ...], int]] = {}
    for name, parameter in model.named_parameters():
        owner, _, last = name.rpartition(".")
        if is_expert(name):
            continue
        shape, count = expected.get(owner, ((), 0))
        shape = tuple(parameter.shape) if last == "weight" else shape
        expected[owner] = (shape, count + parameter.numel())
    if layers.is_tied:
        found.pop("lm_head")
    assert rename_blocks(found) == rename_blocks(expected)
    assert layers.parameters == sum(parameter.numel() for parameter in model.parameters())


def is_expert(name: str) -> bool:
    return ".experts" in name


def rename_blocks(shapes: dict[str, tuple[tuple[int, ...], int]]) -> dict[str, object]:
    """Files of Mixtral call the block of experts otherwise than the loaded model does."""
    return {name.replace("block_sparse_moe", "mlp"): value for name, value in shapes.items()}


def test_an_unknown_family_is_refused_with_a_remedy() -> None:
    assert not is_known_family("no_such_model")
    with pytest.raises(ModelUnusable, match="no_such_model") as caught:
        build_tensors({"model_type": "no_such_model"})
    assert "Download" in caught.value.remedy


@pytest.mark.parametrize("change", [{"hidden_size": None}, {"num_hidden_layers": 10**9}])
def test_a_configuration_without_sizes_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ModelUnusable, match="lacks a size"):
        build_tensors({"model_type": "llama", **SMALL, **change})
