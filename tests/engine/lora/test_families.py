"""Adapters train, save, reload and merge on every family of causal models that we name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from studio.core.recipe.schema import AdapterSettings
from studio.engine.export.merged import export_merged
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from studio.engine.models.capabilities import get_rough_size
from tests.engine.lora.tiny_models import build_batch, compute_loss

SHAPE: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4}
_HEADS = {"head_dim": 8}
FAMILIES: dict[str, dict[str, Any]] = {
    "apertus": {},
    "bloom": {"n_head": 4, "n_layer": 2},
    "cohere": {},
    "deepseek_v3": {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "n_group": 1,
        "topk_group": 1,
        "kv_lora_rank": 8,
        "q_lora_rank": 8,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 4,
        "v_head_dim": 8,
        "first_k_dense_replace": 1,
        "num_key_value_heads": 4,
    },
    "falcon": {"new_decoder_architecture": False},
    "gemma": _HEADS,
    "gemma2": _HEADS,
    "gemma3_text": _HEADS,
    "gemma4_text": _HEADS
    | {
        "global_head_dim": 16,
        "hidden_size_per_layer_input": 8,
        "layer_types": ["sliding_attention", "full_attention"],
        "num_kv_shared_layers": 0,
        "vocab_size_per_layer_input": 64,
    },
    "glm4": _HEADS,
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2, "num_heads": 4},
    "gpt_neox": {},
    "gpt_oss": _HEADS | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "gptj": _GPT2 | {"rotary_dim": 4},
    "granite": {},
    "llama": {},
    "llama4_text": _HEADS | {"intermediate_size_mlp": 48, "num_local_experts": 4},
    "mamba": {"state_size": 4, "time_step_rank": 4},
    "mistral": {},
    "mixtral": {"num_local_experts": 4},
    "olmo2": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "phi": {},
    "phi3": {},
    "phimoe": {"num_local_experts": 4},
    "qwen2": {},
    "qwen3": _HEADS,
    "qwen3_moe": _HEADS | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "smollm3": {},
    "stablelm": {},
    "starcoder2": {},
}


def _load(folder: Path) -> nn.Module:
    model: nn.Module = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", trust_remote_code=False, use_safetensors=True
    )
    return model.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_saves_reloads_and_merges_to_the_same_logits(
    family: str, tmp_path: Path
) -> None:
    config = transformers.AutoConfig.for_model(family, **(SHAPE | FAMILIES[family]))
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", trust_remote_code=False
    ).eval()
    model.save_pretrained(tmp_path / "base")
    adapter = inject(model, AdapterSettings(rank=2), seed=0)
    assert get_rough_size(model).count_bytes() > 0
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=1e-2)
    ids, losses = build_batch(), []
    for _ in range(3):
        loss = compute_loss(model, ids)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]

    save_adapter(adapter, tmp_path / "adapter", base_model="base")
    list(export_merged(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged"))
    reloaded, merged = _load(tmp_path / "base"), _load(tmp_path / "merged")
    load_adapter(reloaded, tmp_path / "adapter")
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        assert torch.equal(reloaded(input_ids=ids).logits, expected)
        assert (merged(input_ids=ids).logits - expected).abs().max() < 1e-5
