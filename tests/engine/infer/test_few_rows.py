"""Products of a few rows are those of ordinary layers, and the weights stay as they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from studio.engine.infer.few_rows import MOST_ROWS, FewRowsLinear, prepare_few_rows
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
