"""Modules known from headers are those that transformers builds, family by family."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2Model
from transformers.pytorch_utils import Conv1D

from studio.core.errors import RecipeInvalid
from studio.core.recipe.schema import AdapterOverride, AdapterSettings
from studio.core.weights.header import TensorEntry
from studio.core.weights.layers import (
    ModelLayers,
    build_layers,
    count_adapter_parameters,
    load_layers,
)
from studio.core.weights.matching import choose_modules
from studio.core.weights.tree import build_tree
from studio.engine.lora.targets import find_targets

_LLAMA = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 64, "max_position_embeddings": 64, "head_dim": 8,
    "pad_token_id": 0,
}  # fmt: skip
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64, "n_positions": 64}
_FAMILIES: dict[str, dict[str, Any]] = {
    "llama": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma3_text": _LLAMA,
    "mistral": _LLAMA,
    "phi3": _LLAMA,
    "phi": _LLAMA,
    "gpt_neox": _LLAMA,
    "gpt2": _GPT2,
    "gptj": {**_GPT2, "rotary_dim": 4},
    "opt": {**_LLAMA, "ffn_dim": 48, "word_embed_proj_dim": 16},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64},
    "falcon": {key: value for key, value in _LLAMA.items() if key != "head_dim"},
    "mixtral": {**_LLAMA, "num_local_experts": 2},
    "qwen3_moe": {**_LLAMA, "num_experts": 2, "num_experts_per_tok": 1},
}
_SETTINGS = [
    AdapterSettings(),
    AdapterSettings(targets="attention", rank=3),
    AdapterSettings(targets=("*",), layers="1"),
    AdapterSettings(targets=("lm_head", "*")),
    AdapterSettings(layers=(0,), overrides=(AdapterOverride(match="*.0.*", rank=2),)),
]


def _build(family: str) -> nn.Module:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **_FAMILIES[family]))


def _count_by_hand(model: nn.Module, settings: AdapterSettings) -> tuple[set[str], int]:
    names, total = set(), 0
    for target in find_targets(model, settings):
        names.add(target.name)
        weight = target.module.weight
        assert isinstance(weight, torch.Tensor)
        total += target.rank * sum(weight.shape)
    return names, total


@pytest.mark.parametrize("family", _FAMILIES)
def test_modules_shapes_and_counts_are_those_of_the_built_model(
    family: str, tmp_path: Path
) -> None:
    model = _build(family)
    model.save_pretrained(tmp_path)
    layers = load_layers(tmp_path)
    assert layers.parameters == model.num_parameters()
    assert layers.layer_count == 2
    for settings in _SETTINGS:
        names, total = _count_by_hand(model, settings)
        count = count_adapter_parameters(layers, settings)
        assert {chosen.name for chosen in choose_modules(layers.candidates, settings)} == names
        assert (count.trainable_parameters, count.modules) == (total, len(names))
        assert count.share == pytest.approx(total / (total + model.num_parameters()))
    for name, module in model.named_modules():
        found = layers.by_name.get(name)
        if found is None or not found.is_adaptable:
            continue
        match module:
            case nn.Linear():
                wanted = (module.in_features, module.out_features)
            case nn.Embedding():
                wanted = (module.num_embeddings, module.embedding_dim)
            case Conv1D():
                wanted = (module.nx, module.nf)
        assert (found.in_features, found.out_features) == wanted


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "mixtral", "opt"])
def test_parts_are_named_for_people(family: str, tmp_path: Path) -> None:
    _build(family).save_pretrained(tmp_path)
    layers = load_layers(tmp_path)
    kinds = {module.kind for module in layers.modules if module.layer is not None}
    assert kinds <= {"attention", "mlp", "norm"}
    assert [m.name for m in layers.modules if m.kind == "head"] == ["lm_head"]
    assert layers.modules[0].kind == "embedding"
    order = [module.layer for module in layers.modules if module.layer is not None]
    assert order == sorted(order)


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # asked by peft
@pytest.mark.parametrize("variant", ["plain", "dora"])
def test_the_count_is_that_of_peft(variant: Literal["plain", "dora"], tmp_path: Path) -> None:
    model = _build("llama")
    model.save_pretrained(tmp_path)
    count = count_adapter_parameters(
        load_layers(tmp_path), AdapterSettings(rank=5, targets="all-linear", variant=variant)
    )
    config = LoraConfig(
        r=5, target_modules="all-linear", task_type="CAUSAL_LM", use_dora=variant == "dora"
    )
    trainable, total = get_peft_model(model, config).get_nb_trainable_parameters()
    assert count.trainable_parameters == trainable
    assert count.share == pytest.approx(trainable / total)


def test_a_bare_gpt2_file_gets_the_names_of_the_loaded_model(tmp_path: Path) -> None:
    base = GPT2Model(GPT2Config(**_GPT2))
    tensors = dict(base.state_dict()) | {"h.0.attn.bias": torch.ones(1, 1, 64, 64)}
    save_file(tensors, tmp_path / "model.safetensors")
    config = GPT2Config(**_GPT2, architectures=["GPT2LMHeadModel"])
    config.save_pretrained(tmp_path)
    layers = load_layers(tmp_path)
    assert layers.is_tied
    assert layers.parameters == base.num_parameters()
    assert (
        count_adapter_parameters(layers, AdapterSettings(targets=("*.attn.c_attn",))).modules == 2
    )
    assert layers.by_name["transformer.h.0.attn.c_attn"].out_features == 96


def test_the_tree_adds_up(tmp_path: Path) -> None:
    _build("llama").save_pretrained(tmp_path)
    layers = load_layers(tmp_path)
    tree = build_tree(layers)
    assert (tree.parameters, tree.size_bytes) == (layers.parameters, layers.size_bytes)
    model = next(child for child in tree.children if child.name == "model")
    blocks = next(child for child in model.children if child.name == "layers")
    assert [child.path for child in blocks.children] == ["model.layers.0", "model.layers.1"]
    assert blocks.children[0].parameters == blocks.children[1].parameters > 0


def _gpt3_layers() -> ModelLayers:
    width = 12288
    names = [
        f"model.layers.{layer}.self_attn.{projection}.weight"
        for layer in range(96)
        for projection in ("q_proj", "k_proj", "v_proj", "o_proj")
    ]
    entries = [TensorEntry(name, "F16", (width, width), 0, 2 * width**2) for name in names]
    return build_layers(Path("gpt3"), {"model_type": "llama"}, entries)


@pytest.mark.parametrize(("rank", "millions"), [(1, 4.7), (8, 37.7)])
def test_the_counts_of_the_paper_come_out(rank: int, millions: float) -> None:
    settings = AdapterSettings(rank=rank, targets=("q_proj", "v_proj"))
    count = count_adapter_parameters(_gpt3_layers(), settings)
    assert round(count.trainable_parameters / 1e6, 1) == millions
    assert count.modules == 192


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (AdapterSettings(targets=("q_prj",)), "adapter.targets: 'q_prj' matches no layer"),
        (AdapterSettings(targets=()), "adapter.targets: the list of target modules is empty"),
        (AdapterSettings(targets="mlp"), "adapter.targets: no mlp layer was found"),
        (AdapterSettings(layers="90-96"), "adapter.layers: layer 96 does not exist"),
        (
            AdapterSettings(overrides=(AdapterOverride(match="*.mlp.*", rank=4),)),
            "adapter.overrides[0].match: '*.mlp.*' matches none",
        ),
    ],
)
def test_a_choice_that_means_nothing_is_refused_with_the_key(
    settings: AdapterSettings, message: str
) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        count_adapter_parameters(_gpt3_layers(), settings)
    assert caught.value.message.startswith(message)
    if "q_prj" in message:
        assert "q_proj" in caught.value.remedy
