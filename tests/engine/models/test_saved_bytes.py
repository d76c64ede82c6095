"""The formulas of core.memory say what torch's autograd really keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from studio.core.memory.activations import (
    AdaptedLayers,
    Working,
    count_kept_bytes,
    count_rest_bytes,
)
from studio.core.memory.anatomy import Anatomy, read_anatomy
from studio.core.recipe.schema import AdapterSettings
from studio.core.weights.layers import build_layers
from studio.core.weights.shapes import build_tensors
from studio.engine.data.collate import collate_packed
from studio.engine.data.example import Example
from studio.engine.lora.inject import inject
from studio.engine.models.attention import PACKED
from studio.engine.models.body import split_model
from studio.engine.models.recompute import recompute
from studio.engine.tasks.causal_lm import CausalTask

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 96,
    "intermediate_size": 352,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEAD = {"head_dim": 16}
GEMMA = SIZES | HEAD | {"query_pre_attn_scalar": 16}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": SIZES | HEAD,
    "qwen2": SIZES,
    "qwen3": SIZES | HEAD,
    "mistral": SIZES | HEAD,
    "gemma": SIZES | HEAD,
    "gemma2": GEMMA,
    "gemma3_text": GEMMA,
    "phi3": SIZES,
    "phi": SIZES,
    "olmo2": SIZES,
    "granite": SIZES,
    "smollm3": SIZES,
    "gpt_neox": {k: v for k, v in SIZES.items() if k != "num_key_value_heads"},
    "gpt2": {
        "vocab_size": 64, "n_embd": 96, "n_head": 4, "n_inner": 352, "n_layer": 3,
        "n_positions": 2048, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
        "bos_token_id": 1, "eos_token_id": 2,
    },
    "mixtral": SIZES | HEAD | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": SIZES | HEAD | {
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48,
    },
}  # fmt: skip
TOLERANCE = {"mixtral": 0.06, "qwen3_moe": 0.06}


def build(kind: str, dtype: torch.dtype, **changes: Any) -> tuple[nn.Module, Anatomy]:
    torch.manual_seed(0)
    settings = transformers.AutoConfig.for_model(kind, **(FAMILIES[kind] | changes))
    model = transformers.AutoModelForCausalLM.from_config(
        settings, attn_implementation="eager", trust_remote_code=False
    )
    config = settings.to_dict() | {"architectures": [type(model).__name__]}
    layers = build_layers(Path(), config, build_tensors(config))
    return model.to(dtype).train(), read_anatomy(layers, config)


def measure_saved(
    model: Any,
    settings: AdapterSettings,
    lengths: list[int],
    mode: str = "none",
    *,
    share: float = 1.0,
) -> int:
    """Returns the bytes of all different storages that autograd saves in one forward pass.

    The last ``share`` of each document is supervised.
    """
    parts = split_model(model)
    inject(model, settings, seed=0)
    model.set_attn_implementation(PACKED)
    recompute(model, mode)
    numbers = np.random.default_rng(0)
    documents = [
        Example(
            numbers.integers(3, 64, n).astype(np.int32), np.arange(n) >= n * (1 - share), 0, 0, ""
        )
        for n in lengths
    ]
    own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept.setdefault(storage.data_ptr(), storage)
        return tensor

    task = CausalTask(parts)
    batch = collate_packed(documents)
    with task._packed(batch), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        task._sum_loss(batch)
    return sum(storage.nbytes() for storage in kept.values())


def forecast(
    anatomy: Anatomy,
    settings: AdapterSettings,
    lengths: list[int],
    number_bytes: int,
    *,
    keeps_mlp: bool = True,
) -> int:
    working = Working(number_bytes, is_cpu=True)
    adapted = AdaptedLayers.of(anatomy, anatomy.layers.choose(settings))
    kept = count_kept_bytes(anatomy, adapted, lengths, working, keeps_mlp=keeps_mlp)
    # The norm of the first layer reads what needs no gradient; the norm after the last layer
    # makes up for it.
    return kept + count_rest_bytes(anatomy, sum(lengths), sum(lengths) - len(lengths), working)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_long_document_keeps_what_the_formula_says(kind: str, dtype: torch.dtype) -> None:
    model, anatomy = build(kind, dtype)
    settings = AdapterSettings(rank=8)
    expected = measure_saved(model, settings, [500])
    found = forecast(anatomy, settings, [500], dtype.itemsize)
    assert found == pytest.approx(expected, rel=TOLERANCE.get(kind, 0.03))


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2", "phi3"])
def test_packed_documents_keep_what_the_formula_says(kind: str) -> None:
    model, anatomy = build(kind, torch.float32)
    settings = AdapterSettings(rank=8)
    lengths = [200, 180, 120]
    expected = measure_saved(model, settings, lengths)
    assert forecast(anatomy, settings, lengths, 4) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    "changes",
    [
        {"targets": "attention"},
        {"targets": "mlp"},
        {"targets": ("q_proj", "v_proj")},
        {"targets": ("o_proj", "down_proj")},
        {"layers": "2"},
        {"layers": (1,)},
    ],
)
def test_fewer_adapted_modules_keep_what_the_formula_says(changes: dict[str, Any]) -> None:
    model, anatomy = build("llama", torch.float32)
    settings = AdapterSettings(rank=8, **changes)
    expected = measure_saved(model, settings, [500])
    assert forecast(anatomy, settings, [500], 4) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "phi3", "gpt2", "mixtral"])
def test_recomputed_mlps_keep_only_their_inputs(kind: str) -> None:
    model, anatomy = build(kind, torch.float32)
    settings = AdapterSettings(rank=8)
    expected = measure_saved(model, settings, [500], "mlp")
    found = forecast(anatomy, settings, [500], 4, keeps_mlp=False)
    assert found == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("mode", ["none", "mlp"])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "phi3", "gpt2", "gemma3_text", "mixtral"])
def test_the_last_layer_keeps_only_supervised_rows_behind_its_attention(
    kind: str, mode: str
) -> None:
    model, anatomy = build(kind, torch.float32)
    settings, lengths = AdapterSettings(rank=8), [250, 150]
    expected = measure_saved(model, settings, lengths, mode, share=0.25)
    adapted = AdaptedLayers.of(anatomy, anatomy.layers.choose(settings))
    working = Working(4, is_cpu=True)
    found = count_rest_bytes(anatomy, 400, 100, working) + count_kept_bytes(
        anatomy, adapted, lengths, working, keeps_mlp=mode == "none", supervised_tokens=100
    )
    assert found == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_families_that_spare_rows_are_known(kind: str) -> None:
    model, anatomy = build(kind, torch.float32)
    assert CausalTask(split_model(model)).spares_rows == anatomy.spares_rows


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "phi3", "gpt2", "mixtral"])
def test_recomputed_layers_keep_one_input_each(kind: str) -> None:
    sizes = [0, 0]
    for index, layers in enumerate((3, 7)):
        name = "n_layer" if kind == "gpt2" else "num_hidden_layers"
        model, _ = build(kind, torch.float32, **{name: layers})
        sizes[index] = measure_saved(model, AdapterSettings(rank=8), [500], "all")
    assert (sizes[1] - sizes[0]) / 4 == pytest.approx(500 * 96 * 4, rel=0.01)
