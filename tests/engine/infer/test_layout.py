"""Weights in another order in memory give the same results and can still be read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from studio.core.recipe.schema import AdapterSettings
from studio.engine.infer.layout import BlockedLinear, lay_out_for_rows
from studio.engine.lora.inject import inject
from studio.engine.lora.routing import RowChoice
from studio.engine.lora.stack import AdapterStack
from studio.engine.lora.state import save_adapter
from tests.engine.lora.tiny_models import build_batch, build_model

needs_blocks = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this processor has no oneDNN"
)


@needs_blocks
@torch.no_grad()
def test_a_layer_in_blocks_computes_and_reads_as_before() -> None:
    for bias in (True, False):
        layer = nn.Linear(48, 40, bias=bias)
        whole = nn.Sequential(layer, nn.Linear(40, 8, dtype=torch.bfloat16))
        weight, inputs = layer.weight.clone(), torch.randn(3, 5, 96)[..., ::2]
        expected = layer(inputs)
        lay_out_for_rows(whole)
        assert isinstance(layer, BlockedLinear)
        assert not isinstance(whole[1], BlockedLinear)
        assert torch.equal(layer.weight, weight)
        for rows in (inputs, inputs[:, :1], inputs[0, 0]):
            found = layer(rows)
            assert found.shape == (*rows.shape[:-1], 40)
        torch.testing.assert_close(layer(inputs), expected, rtol=1e-5, atol=1e-6)
        lay_out_for_rows(whole)
        assert torch.equal(layer.weight, weight)


@torch.no_grad()
def test_a_weight_that_is_shared_stays_one_weight() -> None:
    model = build_model("llama", tie_word_embeddings=True).eval()
    ids = build_batch()
    expected = model(input_ids=ids).logits
    lay_out_for_rows(model)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    torch.testing.assert_close(model(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)


@needs_blocks
@pytest.mark.parametrize(
    "settings",
    [
        {"rank": 3, "variant": "dora"},
        {"rank": 2, "targets": ("q_proj",), "extra_modules": ("lm_head", "*.1.mlp")},
        {"rank": 2, "init": "pissa"},
    ],
    ids=["lengths", "modules in full", "start matrices"],
)
@torch.no_grad()
def test_adapters_that_read_or_copy_the_weights_come_after_the_change(
    settings: dict[str, object], tmp_path: Path
) -> None:
    adapter = inject(build_model("llama"), AdapterSettings.model_validate(settings), seed=1)
    for parameter in adapter.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    save_adapter(adapter, tmp_path, base_model="tiny")
    ids = build_batch(rows=3)
    found = []
    for is_changed in (False, True):
        model = build_model("llama").eval()
        stack = AdapterStack(model)
        if is_changed:
            lay_out_for_rows(model)
        stack.load("a", tmp_path)
        with stack.rows([RowChoice("a"), RowChoice(), RowChoice("a", 0.5)]):
            found.append(model(input_ids=ids).logits)
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found[0][0], model(input_ids=ids).logits[0], atol=0.01)
