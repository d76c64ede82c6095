"""Norms in one function: to the last bit the families' own results, and the same gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from studio.engine.models.rms_norm import join_norms
from tests.engine.lora.tiny_models import build_model


def _find_norms(model: Any) -> list[Any]:
    return [one for one in model.modules() if type(one).__name__.endswith("RMSNorm")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3", "mistral"])
def test_a_joined_norm_gives_the_familys_own_numbers(family: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model: Any = build_model(family).to(dtype).requires_grad_(False)
    join_norms(model)
    norms = _find_norms(model)
    assert norms
    for norm in norms[:4]:
        nn.init.normal_(norm.weight)
        assert "forward" in vars(norm)
        x = (2 * torch.randn(1, 700, norm.weight.numel())).to(dtype)
        slope = torch.randn_like(x)
        results = []
        for run in (norm.forward, lambda one, norm=norm: type(norm).forward(norm, one)):
            leaf = x.clone().requires_grad_()
            y = run(leaf)
            results.append((y.detach(), *torch.autograd.grad(y, leaf, slope)))
        assert torch.equal(results[0][0], results[1][0])
        tolerance = 1e-5 if dtype == torch.float32 else 2e-2
        torch.testing.assert_close(results[0][1], results[1][1], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_without_gradients_the_numbers_are_the_same_to_rounding(
    family: str, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    model: Any = build_model(family).to(dtype).requires_grad_(False)
    join_norms(model)
    for norm in _find_norms(model)[:4]:
        nn.init.normal_(norm.weight)
        x = (2 * torch.randn(3, 1, norm.weight.numel())).to(dtype)
        with torch.no_grad():
            found, wanted = norm(x), type(norm).forward(norm, x)
        assert found.dtype == dtype
        tolerance = 1e-6 if dtype == torch.float32 else 0.0  # 16 bits: the family's own code
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def test_norms_that_compute_something_else_stay_as_they_are() -> None:
    model = build_model("gpt2")
    join_norms(model)
    assert all("forward" not in vars(one) for one in model.modules())


def test_a_trained_norm_runs_its_own_code() -> None:
    model: Any = build_model("llama")
    join_norms(model)
    norm = _find_norms(model)[0]
    norm.weight.requires_grad_(True)
    x = torch.randn(3, norm.weight.numel(), requires_grad=True)
    norm(x).sum().backward()
    assert norm.weight.grad is not None
