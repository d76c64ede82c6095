"""Adapters of single experts keep their meaning on a model that stacks its experts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

from studio.core.errors import AdapterUnusable
from studio.engine.export.merged import export_merged
from studio.engine.lora.state import load_adapter, save_adapter
from tests.engine.lora.test_families import FAMILIES, SHAPE
from tests.engine.lora.tiny_models import build_batch

NAMES = {
    "qwen3_moe": ("mlp.experts", ("gate_proj", "up_proj", "down_proj")),
    "mixtral": ("block_sparse_moe.experts", ("w1", "w3", "w2")),
}


def _build(family: str) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **(SHAPE | FAMILIES[family]))
    model: nn.Module = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", trust_remote_code=False
    )
    return model.eval()


def _write_single_experts(model: nn.Module, family: str, folder: Path) -> None:
    """Writes random matrices for experts 0, 2 and 3, and adds their products to ``model``."""
    owner, names = NAMES[family]
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "target_modules": list(names),
              "rank_pattern": {names[1]: 2}, "alpha_pattern": {names[1]: 5}}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors = {}
    for layer in range(2):
        experts = model.model.layers[layer].mlp.experts
        height = experts.gate_up_proj.shape[1] // 2
        for expert in (0, 2, 3):
            for place, name in enumerate(names):
                weight = (experts.down_proj if place == 2 else experts.gate_up_proj)[expert]
                part = weight if place == 2 else weight[place * height : (place + 1) * height]
                rank, scaling = (2, 2.5) if place == 1 else (3, 2.0)
                lora_a = torch.randn(rank, part.shape[1]) * 0.2
                lora_b = torch.randn(part.shape[0], rank) * 0.2
                key = f"base_model.model.model.layers.{layer}.{owner}.{expert}.{name}.lora_"
                tensors |= {f"{key}A.weight": lora_a, f"{key}B.weight": lora_b}
                with torch.no_grad():
                    part += scaling * lora_b @ lora_a
    save_file(tensors, folder / "adapter_model.safetensors")


@pytest.mark.parametrize("family", NAMES)
def test_the_update_is_that_of_each_expert(family: str, tmp_path: Path) -> None:
    model, changed, ids = _build(family), _build(family), build_batch()
    model.save_pretrained(tmp_path / "base")
    _write_single_experts(changed, family, tmp_path / "single")
    expected = changed(input_ids=ids).logits
    assert (model(input_ids=ids).logits - expected).abs().max() > 1e-3

    adapter = load_adapter(model, tmp_path / "single")
    torch.testing.assert_close(model(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)
    assert adapter.modules["model.layers.0.mlp.experts.gate_up_proj"].rank == 5

    save_adapter(adapter, tmp_path / "stacked", base_model="base")
    for name in ("single", "stacked"):
        list(export_merged(tmp_path / "base", tmp_path / name, tmp_path / f"merged-{name}"))
        merged = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path / f"merged-{name}", trust_remote_code=False, use_safetensors=True
        ).eval()
        torch.testing.assert_close(merged(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)


def test_an_expert_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    changed = _build("qwen3_moe")
    _write_single_experts(changed, "qwen3_moe", tmp_path / "single")
    small = FAMILIES["qwen3_moe"] | {"num_experts": 2}
    config = transformers.AutoConfig.for_model("qwen3_moe", **(SHAPE | small))
    model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    with pytest.raises(AdapterUnusable, match=r"no layer 'model\.layers\.0\.mlp\.experts\.2"):
        load_adapter(model, tmp_path / "single")
