"""DoRA computes what its paper says and what peft computes, and starts as the base."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from studio.core.recipe.schema import AdapterSettings
from studio.engine.lora.adapter import Adapter, build_adapted
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from studio.engine.lora.variants.dora import rescale
from tests.engine.lora.tiny_models import build_batch, build_model, compute_loss

CASES = {
    "llama": ("llama", "all-linear"),
    "phi, with biases": ("phi", "all-linear"),
    "gpt2": ("gpt2", ("c_attn", "c_fc", "wte")),
    "gemma3, scaled table": ("gemma3", ("q_proj", "embed_tokens")),
}


def _perturb(adapter: Adapter) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def test_the_gradient_passes_gradcheck() -> None:
    torch.manual_seed(0)
    output, magnitude, bias = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((4, 7), 7, 7)
    )
    norm = torch.rand(7, dtype=torch.float64) + 1.0

    def compute(y: torch.Tensor, m: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return rescale(y, m, norm, b)

    assert torch.autograd.gradcheck(compute, (output, magnitude, bias))
    assert torch.autograd.gradcheck(lambda y, m: rescale(y, m, norm, None), (output, magnitude))


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_the_value_is_the_formula_of_the_paper(kind: str) -> None:
    torch.manual_seed(0)
    base: nn.Module = nn.Linear(5, 7) if kind == "linear" else Conv1D(7, 5)
    nn.init.normal_(base.bias)
    module = build_adapted(base, kind, rank=2, alpha=6.0, variant="dora")
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    weight = base.weight if kind == "linear" else base.weight.t()
    direction = weight + 3.0 * module.lora_B @ module.lora_A
    merged = module.lora_magnitude[:, None] * direction / direction.norm(dim=1, keepdim=True)
    x = torch.randn(4, 5)
    torch.testing.assert_close(module(x), x @ merged.t() + base.bias)
    expected = merged if kind == "linear" else merged.t()
    torch.testing.assert_close(module.get_merged_weight(), expected)
    torch.testing.assert_close(module.get_delta(), expected - base.weight)


def test_the_norm_follows_every_optimizer_step() -> None:
    module = build_adapted(nn.Linear(5, 7), "linear", rank=2, alpha=6.0, variant="dora")
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    optimizer = torch.optim.AdamW(
        [parameter for _, parameter in module.iter_trainable()], lr=0.1, fused=True
    )
    x = torch.randn(4, 5)
    for _ in range(3):
        module(x).square().sum().backward()
        optimizer.step()
        merged = module.get_merged_weight()
        norm = module.lora_magnitude.abs()
        torch.testing.assert_close(merged.norm(dim=1), norm)
        torch.testing.assert_close(module(x), x @ merged.t() + module.bias, rtol=1e-4, atol=1e-5)


def test_a_norm_from_inference_mode_can_be_trained_with() -> None:
    module = build_adapted(nn.Linear(5, 7), "linear", rank=2, alpha=6.0, variant="dora")
    module.set_magnitude()
    with torch.inference_mode():
        module(torch.randn(4, 5))
    module(torch.randn(4, 5)).sum().backward()
    assert module.lora_magnitude.grad is not None


@pytest.mark.parametrize("case", CASES)
def test_it_starts_exactly_as_the_base_and_one_rank_learns(case: str) -> None:
    family, targets = CASES[case]
    model, ids = build_model(family), build_batch()
    before = model(input_ids=ids).logits
    adapter = inject(model, AdapterSettings(rank=1, targets=targets, variant="dora"), seed=1)
    torch.testing.assert_close(model(input_ids=ids).logits, before, rtol=1e-5, atol=1e-5)
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=1e-2)
    losses = []
    for _ in range(5):
        loss = compute_loss(model, ids)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("case", CASES)
def test_logits_gradients_and_files_equal_pefts(case: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    family, targets = CASES[case]
    model, ids = build_model(family), build_batch()
    bare = copy.deepcopy(model)
    settings = AdapterSettings(rank=4, alpha=6.0, targets=targets, variant="dora")
    adapter = inject(model, settings, seed=1)
    _perturb(adapter)
    save_adapter(adapter, tmp_path / "ours", base_model="tiny")
    reference = peft.PeftModel.from_pretrained(
        copy.deepcopy(bare), tmp_path / "ours", is_trainable=True
    )
    ours = model(input_ids=ids).logits
    torch.testing.assert_close(ours, reference(input_ids=ids).logits, rtol=1e-5, atol=1e-5)

    compute_loss(model, ids).backward()
    compute_loss(reference, ids).backward()
    theirs = {
        name.replace(".default", "").replace("_vector", "").replace("_embedding_", "_"): p.grad
        for name, p in reference.base_model.model.named_parameters()
        if p.requires_grad and p.grad is not None
    }
    for name, parameter in adapter.named_parameters():
        found = theirs.pop(name) if name in theirs else theirs.pop(f"{name}.weight")
        torch.testing.assert_close(parameter.grad, found, rtol=1e-4, atol=1e-6)
    assert not theirs

    reference.save_pretrained(tmp_path / "theirs")
    load_adapter(bare, tmp_path / "theirs")
    torch.testing.assert_close(bare(input_ids=ids).logits, ours, rtol=1e-6, atol=1e-6)


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_pefts_mixture_of_dora_and_rslora_is_understood(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model, ids = build_model("llama"), build_batch()
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules="all-linear", use_dora=True, use_rslora=True,
        init_lora_weights=False, task_type="CAUSAL_LM",
    )  # fmt: skip
    reference = peft.get_peft_model(copy.deepcopy(model), config)
    reference.save_pretrained(tmp_path)
    load_adapter(model, tmp_path)
    torch.testing.assert_close(
        model(input_ids=ids).logits, reference(input_ids=ids).logits, rtol=1e-5, atol=1e-5
    )
