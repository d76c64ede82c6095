"""Training computes the closed-form gradients of every family, packed or padded, and recomputed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from torch.nn.functional import cross_entropy
from transformers.pytorch_utils import Conv1D

from studio.core.recipe.schema import AdapterSettings
from studio.engine.data.collate import IGNORED, MicroBatch, collate_packed, collate_padded
from studio.engine.data.example import Example
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.inject import inject
from studio.engine.models.attention import PACKED
from studio.engine.models.body import split_model
from studio.engine.models.packing_probe import is_packing_exact, is_padding_exact
from studio.engine.models.recompute import can_recompute_mlps, recompute
from studio.engine.tasks.causal_lm import CausalTask
from tests.engine.lora.test_families import FAMILIES, SHAPE

_LENGTHS = (5, 17, 2, 13, 40)
_JITTERED = {"phimoe"}  # its router draws at random while training
_SEQUENTIAL = {"bloom", "falcon", "gpt_neo", "gpt_oss", "gptj", "llama4_text", "mamba"}


def _build_examples() -> list[Example]:
    generator = np.random.default_rng(0)
    return [
        Example(
            generator.integers(3, 64, count).astype(np.int32),
            np.arange(count) >= count // 2,
            truncated_tokens=0,
            row=1,
            source="test",
        )
        for count in _LENGTHS
    ]


def _build(family: str) -> Any:
    changes: dict[str, Any] = {"sliding_window": 8} if family in ("mistral", "gemma2") else {}
    config = transformers.AutoConfig.for_model(family, **(SHAPE | FAMILIES[family] | changes))
    for name in vars(config):
        if name.endswith(("dropout", "pdrop")) and isinstance(getattr(config, name), float):
            setattr(config, name, 0.0)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", trust_remote_code=False
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.train()


def _inject(model: Any) -> Adapter:
    """Returns an adapter that changes what ``model`` computes."""
    adapter = inject(model, AdapterSettings(rank=2, alpha=4.0), seed=0)
    generator = torch.Generator().manual_seed(1)
    for name in [one for one in adapter.modules if one.endswith("dt_proj")]:
        adapter.leave_out([name])  # as a run does, see test_bypassed
    for module in adapter.modules.values():
        module.fill(module.lora_B, torch.randn(module.lora_B.shape, generator=generator) * 0.1)
    return adapter


def _compute_alone(
    merged: nn.Module, adapter: Adapter, examples: list[Example]
) -> tuple[float, int, dict[str, torch.Tensor]]:
    """Returns loss, supervised tokens and the gradient of each matrix, document by document.

    With the updates added into the weights, W = W0 + s B A, the chain rule gives those of A and B.
    """
    merged.requires_grad_(False)
    layers = {name: merged.get_submodule(name) for name in adapter.modules}
    for name, module in adapter.modules.items():
        weight = nn.Parameter(module.get_merged_weight().contiguous())
        layers[name].weight = weight
    total, count = torch.zeros(()), 0
    for one in examples:
        ids = torch.from_numpy(one.ids.astype(np.int64))
        targets = ids[1:].masked_fill(~torch.from_numpy(one.supervised[1:]), IGNORED)
        logits = merged(input_ids=ids[None], use_cache=False).logits[0, :-1]
        total = total + cross_entropy(logits, targets, reduction="sum", ignore_index=IGNORED)
        count += int((targets != IGNORED).sum())
    (total / count).backward()
    slopes = {}
    for name, module in adapter.modules.items():
        slope = layers[name].weight.grad
        if slope is None:
            slope = torch.zeros_like(layers[name].weight)
        slope = slope.t() if isinstance(layers[name], Conv1D) else slope
        slopes[f"{name}.lora_A"] = module.scaling * module.lora_B.detach().t() @ slope
        slopes[f"{name}.lora_B"] = module.scaling * slope @ module.lora_A.detach().t()
    return float(total.detach()) / count, count, slopes


def _collate(examples: list[Example], *, packs: bool) -> list[MicroBatch]:
    """Returns all examples in two micro-batches, so that accumulation is part of it."""
    collate = collate_packed if packs else collate_padded
    return [collate(examples[:2]), collate(examples[2:])]


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - _JITTERED))
def test_gradients_are_those_of_merged_weights_document_by_document(family: str) -> None:
    model = _build(family)
    merged, examples = copy.deepcopy(model), _build_examples()
    adapter = _inject(model)
    loss, count, slopes = _compute_alone(merged, adapter, examples)
    parts, packs = split_model(model), is_packing_exact(model)
    assert packs == (family not in _SEQUENTIAL)
    assert is_padding_exact(model)
    if packs:
        model.set_attn_implementation(PACKED)
    modes = ["none", *(["mlp"] if can_recompute_mlps(model) else []), "all"]
    largest = max(float(slope.abs().max()) for slope in slopes.values())
    for mode in modes:
        recompute(model, mode)
        task = CausalTask(parts)
        sums = [task.add_gradients(batch, count) for batch in _collate(examples, packs=packs)]
        assert float(sum(sums)) / count == pytest.approx(loss, rel=1e-5)
        for name, parameter in adapter.named_parameters():
            found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(found, slopes[name], rtol=1e-3, atol=1e-4 * largest)
            parameter.grad = None
