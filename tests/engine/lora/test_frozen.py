"""Layers that compute something else than they promise are refused, never adapted wrongly."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from studio.core.errors import ModelUnusable, NotAvailableYet
from studio.core.recipe.schema import AdapterSettings
from studio.engine.lora.adapter import build_adapted
from studio.engine.lora.inject import inject
from studio.engine.quant import hold, is_linear_map


class _DoubledLinear(nn.Linear):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return 2.0 * super().forward(values)


class _RenamedLinear(nn.Linear):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values @ self.weight.t() + self.bias


class _Router(nn.Linear):
    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = super().forward(values)
        return scores, scores.softmax(-1)


class _GroupedLinear(nn.Linear):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.einsum("rgi,oi->rgo", values, self.weight)


class _ShiftedEmbedding(nn.Embedding):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return functional.embedding(values + 1, self.weight)


def test_a_subclass_is_adapted_only_where_it_is_a_linear_map() -> None:
    assert hold(_RenamedLinear(4, 6)).out_features == 6
    for kind in (_DoubledLinear, _Router, _GroupedLinear):
        assert not is_linear_map(kind(4, 6))
        with pytest.raises(ModelUnusable, match="more than a linear map"):
            hold(kind(4, 6))


def test_all_linear_leaves_out_what_is_no_linear_map_and_a_pattern_is_refused() -> None:
    model = nn.ModuleDict({"router": _Router(4, 6), "gate_proj": _RenamedLinear(4, 6)})
    adapter = inject(model, AdapterSettings(rank=2, targets="all-linear"), seed=0)
    assert list(adapter.modules) == ["gate_proj"]
    adapter.detach()
    with pytest.raises(ModelUnusable, match="more than a linear map"):
        inject(model, AdapterSettings(rank=2, targets=("router",)), seed=0)


def test_a_table_that_is_no_plain_lookup_is_refused() -> None:
    with pytest.raises(ModelUnusable, match="more than a lookup"):
        build_adapted(_ShiftedEmbedding(8, 4), "embedding", rank=2, alpha=4.0)


def test_weights_that_are_no_plain_numbers_are_refused_by_name() -> None:
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(torch.zeros(4, 4, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(NotAvailableYet, match=r"Linear with weights stored as torch\.uint8"):
        hold(layer)


def test_an_adapted_layer_still_answers_for_its_base() -> None:
    base = nn.Linear(4, 6)
    module = build_adapted(base, "linear", rank=2, alpha=4.0)
    assert module.weight is base.weight
    assert module.in_features == 4
    assert "rank=2" in repr(module)
    with pytest.raises(AttributeError):
        _ = module.no_such_name


@pytest.mark.parametrize("kind", ["linear", "conv1d", "embedding"])
def test_merged_weight_is_base_plus_scaled_product(kind: str) -> None:
    base = {
        "linear": nn.Linear(5, 7, bias=False),
        "conv1d": Conv1D(7, 5),
        "embedding": nn.Embedding(5, 7),
    }[kind]
    module = build_adapted(base, kind, rank=2, alpha=6.0)
    for parameter in (module.lora_A, module.lora_B):
        nn.init.normal_(parameter)
    inputs = torch.arange(5) if kind == "embedding" else torch.randn(3, 5)
    merged = module.get_merged_weight()
    assert merged.shape == base.weight.shape
    matrix = merged.t() if kind == "linear" else merged
    expected = merged[inputs] if kind == "embedding" else inputs @ matrix
    torch.testing.assert_close(module(inputs), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(module.get_delta(), merged - base.weight, rtol=1e-5, atol=1e-5)
