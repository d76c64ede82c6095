"""Each setting that peft's LoraConfig knows is understood or refused by its name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from studio.core.errors import AdapterUnusable
from studio.engine.lora.stored import read_adapter

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.referee

# A value of our own choice that means something, and what becomes of it: "" is read and obeyed
# (tested where it is computed), "neutral" changes nothing that an adapter file computes.
FIELDS: dict[str, tuple[object, str]] = {
    "alora_invocation_tokens": ([1, 2], "refused"),
    "alpha_pattern": ({"q_proj": 3}, ""),
    "arrow_config": ({"top_k": 2}, "refused"),
    "auto_mapping": ({"base_model_class": "X"}, "neutral"),
    "base_model_name_or_path": ("org/base", ""),
    "bias": ("all", "refused"),
    "corda_config": ({"corda_method": "kpm"}, "neutral"),
    "ensure_weight_tying": (True, ""),
    "eva_config": ({"rho": 2.0}, "neutral"),
    "exclude_modules": (["v_proj"], "neutral"),
    "fan_in_fan_out": (True, "neutral"),
    "inference_mode": (True, "neutral"),
    "init_lora_weights": ("pissa", "refused"),
    "kasa_config": ({"beta": 1.0}, "refused"),
    "layer_replication": ([[0, 2]], "refused"),
    "layers_pattern": ("layers", "neutral"),
    "layers_to_transform": ([0], "neutral"),
    "loftq_config": ({"loftq_bits": 4}, "neutral"),
    "lora_alpha": (7, ""),
    "lora_bias": (True, "refused"),
    "lora_dropout": (0.1, "neutral"),
    "lora_ga_config": ({"scale": "unit"}, "neutral"),
    "megatron_config": ({"x": 1}, "neutral"),
    "megatron_core": ("megatron.core", "neutral"),
    "modules_to_save": (["lm_head"], "refused"),  # not in this file, else obeyed
    "monteclora_config": ({"num_samples": 2}, "refused"),
    "peft_type": ("LORA", ""),
    "peft_version": ("0.10.0", "neutral"),
    "qalora_group_size": (16, "neutral"),
    "r": (2, ""),
    "rank_pattern": ({"q_proj": 2}, ""),
    "revision": ("abc", ""),
    "runtime_config": ({"ephemeral_gpu_offload": False}, "neutral"),
    "target_modules": (["q_proj"], "neutral"),
    "target_parameters": (["experts.down_proj"], "refused"),  # not in this file, else obeyed
    "task_type": ("CAUSAL_LM", "neutral"),
    "trainable_token_indices": ([3], "refused"),  # not in this file, else obeyed
    "use_bdlora": ({"nblocks": 2}, "refused"),
    "use_dora": (True, "refused"),  # not in this file, else obeyed
    "use_qalora": (True, "refused"),
    "use_rslora": (True, ""),
    "velora_config": ({"num_groups": 2}, "refused"),
}


def _write(folder: Path, **settings: object) -> Path:
    folder.mkdir()
    content = {"peft_type": "LORA", "r": 2, "lora_alpha": 4} | settings
    (folder / "adapter_config.json").write_text(json.dumps(content))
    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    tensors = {f"{key}A.weight": torch.ones(2, 4), f"{key}B.weight": torch.ones(6, 2)}
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def test_the_table_names_every_field_of_peft() -> None:
    known = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    assert known - {"self"} - set(FIELDS) == set()


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_is_understood_or_refused_by_name(field: str, tmp_path: Path) -> None:
    value, outcome = FIELDS[field]
    folder = _write(tmp_path / "a", **{field: value})
    if outcome == "refused":
        with pytest.raises(AdapterUnusable) as caught:
            read_adapter(folder)
        assert field in caught.value.message
        assert caught.value.remedy
        return
    stored = read_adapter(folder)
    (module,) = stored.modules.values()
    if outcome == "neutral":
        assert module.scaling == 2.0
        assert module.rank == 2


def test_what_is_read_decides_the_scaling(tmp_path: Path) -> None:
    for number, (settings, scaling) in enumerate(
        [
            ({"lora_alpha": 7}, 3.5),
            ({"alpha_pattern": {"q_proj": 3}}, 1.5),
            ({"use_rslora": True}, 4 / 2**0.5),
        ]
    ):
        (module,) = read_adapter(_write(tmp_path / str(number), **settings)).modules.values()
        assert module.scaling == pytest.approx(scaling)
