"""Adapters on stacked experts equal peft's, train, save, reload and merge."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from studio.core.errors import ModelUnusable, NotAvailableYet
from studio.core.recipe.schema import AdapterOverride, AdapterSettings
from studio.core.weights.layers import count_adapter_parameters, load_layers
from studio.engine.export.merged import export_merged
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.experts import AdaptedExperts
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from tests.engine.lora.test_families import FAMILIES, SHAPE
from tests.engine.lora.tiny_models import build_batch, compute_loss

MOE = ("deepseek_v3", "gpt_oss", "mixtral", "qwen3_moe")


def _build(family: str) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **(SHAPE | FAMILIES[family]))
    model: nn.Module = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", trust_remote_code=False
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def _settings(family: str, *patterns: str, **changes: Any) -> AdapterSettings:
    known = {"deepseek_v3": ("kv_b_proj",)}.get(family, ("q_proj",))
    targets = patterns or (*known, "*.experts.*")
    return AdapterSettings(rank=3, alpha=6.0, targets=targets).model_copy(update=changes)


def _perturb(adapter: Adapter) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def _load(folder: Path) -> nn.Module:
    model: nn.Module = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", trust_remote_code=False, use_safetensors=True
    )
    return model.eval()


@pytest.mark.parametrize("family", MOE)
def test_a_family_trains_saves_reloads_and_merges_to_the_same_logits(
    family: str, tmp_path: Path
) -> None:
    model, ids = _build(family), build_batch()
    model.save_pretrained(tmp_path / "base")
    before = model(input_ids=ids).logits
    adapter = inject(model, _settings(family), seed=0)
    torch.testing.assert_close(model(input_ids=ids).logits, before, rtol=1e-5, atol=1e-5)
    assert any(isinstance(module, AdaptedExperts) for module in model.modules())
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=1e-2)
    losses = []
    for _ in range(3):
        loss = compute_loss(model, ids)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    _perturb(adapter)
    save_adapter(adapter, tmp_path / "adapter", base_model="base")
    list(export_merged(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged"))
    reloaded, merged = _load(tmp_path / "base"), _load(tmp_path / "merged")
    load_adapter(reloaded, tmp_path / "adapter")
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        assert (expected - before).abs().max() > 1e-2
        assert torch.equal(reloaded(input_ids=ids).logits, expected)
        assert (merged(input_ids=ids).logits - expected).abs().max() < 1e-5
        with adapter.disabled():
            assert torch.equal(model(input_ids=ids).logits, before)
    adapter.detach()
    assert torch.equal(model(input_ids=ids).logits, before)


@pytest.mark.referee
@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning"
)
@pytest.mark.parametrize("pattern", ["*.experts.*", "experts.gate_up_proj", "experts.down_proj"])
@pytest.mark.parametrize("family", MOE)
def test_logits_gradients_and_files_equal_pefts(family: str, pattern: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model, ids = _build(family), build_batch()
    bare = copy.deepcopy(model)
    other = "kv_b_proj" if family == "deepseek_v3" else "q_proj"
    overrides = (AdapterOverride(match=pattern, rank=2, alpha=5.0),)
    adapter = inject(model, _settings(family, other, pattern, overrides=overrides), seed=1)
    _perturb(adapter)
    save_adapter(adapter, tmp_path / "ours", base_model="tiny")
    reference = peft.PeftModel.from_pretrained(
        copy.deepcopy(bare), tmp_path / "ours", is_trainable=True
    ).eval()
    ours = model(input_ids=ids).logits
    torch.testing.assert_close(ours, reference(input_ids=ids).logits, rtol=1e-5, atol=1e-5)
    compute_loss(model, ids).backward()
    compute_loss(reference, ids).backward()
    theirs = sorted(
        parameter.grad.norm().item()
        for parameter in reference.parameters()
        if parameter.requires_grad
    )
    found = sorted(parameter.grad.norm().item() for parameter in adapter.parameters())
    torch.testing.assert_close(torch.tensor(found), torch.tensor(theirs), rtol=1e-4, atol=1e-6)

    reference.save_pretrained(tmp_path / "theirs")
    load_adapter(bare, tmp_path / "theirs")
    torch.testing.assert_close(bare(input_ids=ids).logits, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pattern", ["*.experts.*", "experts.down_proj", "experts.gate_up_proj"])
@pytest.mark.parametrize("family", MOE)
def test_the_files_alone_say_how_large_the_adapter_will_be(
    family: str, pattern: str, tmp_path: Path
) -> None:
    model = _build(family)
    model.save_pretrained(tmp_path)  # type: ignore[operator]  # nn.Module is untyped
    settings = _settings(family, pattern, "self_attn.o_proj")
    found = load_layers(tmp_path)
    adapter = inject(model, settings, seed=0)
    assert {item.name for item in found.choose(settings)} == set(adapter.modules)
    counted = count_adapter_parameters(found, settings)
    assert counted.trainable_parameters == adapter.trainable_parameters


@pytest.mark.parametrize("family", ["qwen3_moe", "gpt_oss"])
def test_merged_stacks_are_base_plus_update(family: str) -> None:
    model, ids = _build(family), build_batch()
    adapter = inject(model, _settings(family, "*.experts.*"), seed=0)
    _perturb(adapter)
    expected = model(input_ids=ids).logits
    adapter.detach()
    with torch.no_grad():
        for module in adapter.modules.values():
            module.base.weight.copy_(module.get_merged_weight())
    torch.testing.assert_close(model(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)


def test_all_linear_leaves_stacked_experts_alone() -> None:
    adapter = inject(_build("qwen3_moe"), AdapterSettings(rank=2), seed=0)
    assert not any("experts" in name for name in adapter.modules)


@pytest.mark.parametrize("change", [{"variant": "dora"}, {"init": "pissa"}])
def test_what_stacks_cannot_do_is_refused_by_name(change: dict[str, str]) -> None:
    with pytest.raises(NotAvailableYet, match=r"tacked experts"):
        inject(_build("qwen3_moe"), _settings("qwen3_moe", **change), seed=0)


def test_experts_that_compute_something_else_are_refused() -> None:
    model = _build("qwen3_moe")
    kind = type(model.model.layers[0].mlp.experts)
    changed = type("Doubled", (kind,), {"forward": lambda self, *a: 2 * kind.forward(self, *a)})
    model.model.layers[0].mlp.experts.__class__ = changed
    with pytest.raises(ModelUnusable, match="Doubled"):
        inject(model, _settings("qwen3_moe"), seed=0)
