"""Adapters on convolutions equal peft's in values, gradients, merges and files."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from studio.core.errors import ModelUnusable
from studio.core.recipe.schema import AdapterSettings
from studio.engine.lora.adapter import build_adapted
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter

_SETTINGS = AdapterSettings(rank=3, alpha=6.0, targets=("first", "last"))


def _build() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "first": nn.Conv2d(3, 8, (3, 5), stride=(2, 1), padding=(1, 2)),
            "last": nn.Conv2d(8, 4, 1, bias=False),
        }
    ).train()


def _compute(model: nn.Module) -> torch.Tensor:
    images = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(1))
    output: torch.Tensor = model["last"](torch.tanh(model["first"](images)))
    return output


def test_gradients_pass_gradcheck() -> None:
    torch.manual_seed(0)
    base = nn.Conv2d(2, 3, 3, padding=1).double().requires_grad_(False)
    module = build_adapted(base, "conv2d", rank=2, alpha=6.0, dtype=torch.float64)
    for parameter in (module.lora_A, module.lora_B):
        nn.init.normal_(parameter)
    images = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)

    def compute(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, {"lora_A": a, "lora_B": b}, (x,))

    assert torch.autograd.gradcheck(compute, (images, module.lora_A, module.lora_B))


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("variant", ["plain", "rslora", "dora"])
def test_values_gradients_and_files_equal_pefts(variant: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = _build()
    bare, before = copy.deepcopy(model), _compute(model)
    adapter = inject(model, _SETTINGS.model_copy(update={"variant": variant}), seed=1)
    torch.testing.assert_close(_compute(model), before, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    save_adapter(adapter, tmp_path / "ours", base_model="tiny", task_type=None)
    reference = peft.PeftModel.from_pretrained(
        copy.deepcopy(bare), tmp_path / "ours", is_trainable=True
    )
    theirs = reference.base_model.model
    ours = _compute(model)
    torch.testing.assert_close(ours, _compute(theirs), rtol=1e-5, atol=1e-5)
    ours.square().sum().backward()
    _compute(theirs).square().sum().backward()
    found = [p.grad for p in theirs.parameters() if p.requires_grad]
    for parameter in adapter.parameters():
        same = [g for g in found if g.numel() == parameter.numel()]
        assert any(
            torch.allclose(parameter.grad, g.view(parameter.shape), 1e-4, 1e-5) for g in same
        )
    assert len(found) == len(adapter.parameters())

    reference.save_pretrained(tmp_path / "theirs")
    again = load_adapter(bare, tmp_path / "theirs")
    torch.testing.assert_close(_compute(bare), ours, rtol=1e-5, atol=1e-5)
    again.detach()
    with torch.no_grad():
        for name, module in again.modules.items():
            bare[name].weight.copy_(module.get_merged_weight())
    torch.testing.assert_close(_compute(bare), ours, rtol=1e-5, atol=1e-5)


def test_convolutions_that_peft_treats_otherwise_are_refused() -> None:
    for layer in (
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    ):
        with pytest.raises(ModelUnusable, match="groups, dilation or padding"):
            build_adapted(layer, "conv2d", rank=2, alpha=4.0)
