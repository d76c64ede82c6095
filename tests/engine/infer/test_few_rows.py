"""Products of a few rows are those of ordinary layers, and the weights stay as they are."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from studio.core.recipe.schema import AdapterSettings
from studio.engine.infer.few_rows import MOST_ROWS, FewRowsLinear, prepare_few_rows
from studio.engine.lora.inject import inject
from studio.engine.lora.stack import AdapterStack
from tests.engine.lora.tiny_models import build_batch, build_model

needs_mkl = pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch without MKL")


@needs_mkl
@pytest.mark.parametrize("out", [48, 55])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_a_layer_computes_as_before_for_any_number_of_rows(out: int, bias: bool) -> None:
    layer = nn.Linear(40, out, bias=bias)
    whole = nn.Sequential(layer, nn.Linear(out, 8, dtype=torch.bfloat16), nn.Linear(out, 15))
    address, inputs = layer.weight.data_ptr(), torch.randn(MOST_ROWS + 1, 3, 80)[..., ::2]
    expected = nn.functional.linear(inputs, layer.weight, layer.bias)
    prepare_few_rows(whole)
    assert [isinstance(one, FewRowsLinear) for one in whole] == [True, False, False]
    assert layer.weight.data_ptr() == address
    for rows in (inputs[0, 0], inputs[:2], inputs[:2, :2], inputs[:, 1], inputs[:4, :1], inputs):
        first = nn.functional.linear(rows, layer.weight, layer.bias)
        found = layer(rows)
        assert found.shape == first.shape
        torch.testing.assert_close(found, first, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer(inputs), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_weight_that_is_shared_stays_one_weight() -> None:
    model = build_model("llama", tie_word_embeddings=True).eval()
    ids = build_batch(rows=4)
    expected = model(input_ids=ids).logits
    prepare_few_rows(model)
    AdapterStack(model).close()
    assert model.lm_head.weight is model.model.embed_tokens.weight
    torch.testing.assert_close(model(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)


@needs_mkl
@pytest.mark.parametrize("family", ["llama", "phi", "gemma3"])
@torch.no_grad()
def test_layers_that_read_the_same_input_are_one_product(family: str) -> None:
    """The values are those of before, and there is no second copy of a weight.

    An adapter that comes tries the layers out one by one, which does not part them.
    """
    model = build_model(family).eval()
    ids = {rows: build_batch(rows=rows)[:, :1] for rows in (1, 3, 4, 8)}
    expected = {rows: model(input_ids=one).logits for rows, one in ids.items()}
    prepare_few_rows(model)
    inject(model, AdapterSettings(rank=2, targets="attention"), seed=0).detach()
    joined = [one for one in model.modules() if isinstance(one, FewRowsLinear) and one.together]
    assert joined
    stores = {one.weight.untyped_storage().data_ptr(): one.weight for one in joined}
    assert len(stores) < len(joined)
    assert sum(one.untyped_storage().nbytes() for one in stores.values()) == sum(
        one.weight.nbytes for one in joined
    )
    for rows, one in ids.items():
        torch.testing.assert_close(model(input_ids=one).logits, expected[rows], rtol=0, atol=1e-5)
    assert all(one.together.holds(one.place, one.weight) for one in joined if one.together)


class _Branches(nn.Module):
    """Reads one input with two layers, as a feed-forward part does, or two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(32, 48)
        self.up_proj = nn.Linear(32, 16)

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return torch.cat((self.gate_proj(one), self.up_proj(other), self.gate_proj(one)), dim=-1)


@needs_mkl
@torch.no_grad()
def test_layers_that_turn_out_to_read_different_inputs_compute_alone() -> None:
    branches = _Branches()
    one, other = torch.randn(2, 5, 1, 32)
    expected = [branches(one, one), branches(one, other)]
    prepare_few_rows(branches)
    torch.testing.assert_close(branches(one, one), expected[0])
    torch.testing.assert_close(branches(one, other), expected[1])
    torch.testing.assert_close(branches(one, other), expected[1])
    together = branches.up_proj.together
    assert together is not None
    assert not together.holds(1, branches.up_proj.weight)


@needs_mkl
@torch.no_grad()
def test_a_weight_that_is_replaced_or_copied_is_the_one_that_counts() -> None:
    branches = _Branches()
    prepare_few_rows(branches)
    inputs = torch.randn(4, 1, 32)
    twin = copy.deepcopy(branches)
    expected = branches(inputs, inputs)
    branches.up_proj.weight = nn.Parameter(torch.zeros(16, 32))
    branches.gate_proj.weight.zero_()
    changed = branches(inputs, inputs)
    torch.testing.assert_close(changed[:, 0, 48:64], branches.up_proj.bias.expand(4, -1))
    torch.testing.assert_close(changed[:, 0, :48], branches.gate_proj.bias.expand(4, -1))
    torch.testing.assert_close(twin(inputs, inputs), expected)
