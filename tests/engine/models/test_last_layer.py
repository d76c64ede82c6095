"""The last layer computes only the rows that are read, and nothing else changes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from studio.core.recipe.schema import AdapterSettings
from studio.engine.data.collate import MicroBatch, collate_packed, collate_padded
from studio.engine.data.example import Example
from studio.engine.lora.inject import inject
from studio.engine.models.attention import PACKED
from studio.engine.models.body import split_model
from studio.engine.models.last_layer import find_last_layer
from studio.engine.models.recompute import recompute
from studio.engine.tasks.causal_lm import CausalTask
from tests.engine.lora.tiny_models import CONFIGS, build_model

LENGTHS = (9, 21, 5)


def _build_task(family: str, mode: str = "none", **changes: object) -> tuple[CausalTask, list]:
    model = build_model(family, **changes)
    parts = split_model(model)
    adapter = inject(model, AdapterSettings(rank=3, alpha=6.0), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    recompute(model, mode)
    return CausalTask(parts), adapter.parameters()


def _build_examples() -> list[Example]:
    numbers = np.random.default_rng(0)
    return [
        Example(
            numbers.integers(3, 64, length).astype(np.int32),
            np.arange(length) >= length // 2,
            0,
            0,
            "",
        )
        for length in LENGTHS
    ]


def _get_gradients(task: CausalTask, parameters: list, batch: MicroBatch) -> tuple[float, list]:
    for parameter in parameters:
        parameter.grad = None
    loss = task.add_gradients(batch, batch.supervised_tokens)
    return float(loss), [parameter.grad for parameter in parameters]


def _assert_recomputing_is_exact(
    plain: tuple[CausalTask, list], recomputing: tuple[CausalTask, list]
) -> None:
    batch = collate_packed(_build_examples())
    for task, _ in (plain, recomputing):
        task.model.set_attn_implementation(PACKED)
    loss, gradients = _get_gradients(*recomputing, batch)
    expected_loss, expected = _get_gradients(*plain, batch)
    assert loss == expected_loss
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("family", sorted(CONFIGS.keys() - {"gpt2", "mamba"}))
def test_sparing_rows_changes_neither_loss_nor_gradient(family: str, packs: bool) -> None:
    task, parameters = _build_task(family)
    assert task.spares_rows
    batch = (collate_packed if packs else collate_padded)(_build_examples())
    if packs:
        task.model.set_attn_implementation(PACKED)
    loss, gradients = _get_gradients(task, parameters, batch)
    task._last_layer = None
    expected_loss, expected = _get_gradients(task, parameters, batch)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("mode", ["mlp", "all"])
def test_recomputing_changes_neither_loss_nor_gradient(mode: str) -> None:
    _assert_recomputing_is_exact(_build_task("llama"), _build_task("llama", mode))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_nor_where_the_call_of_a_layer_is_recomputed(monkeypatch: pytest.MonkeyPatch) -> None:
    # as transformers 5.17 does: hooks and what stands in for ``forward`` are part of a call
    plain, recomputing = _build_task("llama"), _build_task("llama", "all")
    kind = type(plain[0].model.base_model.layers[0])

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        run = partial(nn.Module.__call__, layer, **kwargs)
        recomputes = layer.gradient_checkpointing and layer.training
        return checkpoint(run, *args, use_reentrant=False) if recomputes else run(*args)

    monkeypatch.setattr(kind, "forward", getattr(kind.forward, "__wrapped__", kind.forward))
    monkeypatch.setattr(kind, "__call__", call)
    _assert_recomputing_is_exact(plain, recomputing)


def test_the_model_is_as_before_afterwards() -> None:
    task, _ = _build_task("llama")
    layer = task.model.base_model.layers[-1]
    ids = torch.arange(3, 12)[None]
    rows = torch.tensor([2, 5])
    whole = task.model.base_model(ids).last_hidden_state
    last = find_last_layer(task._parts)
    assert last is not None
    with last.only(rows):
        chosen = task.model.base_model(ids).last_hidden_state
    torch.testing.assert_close(chosen[0], whole[0, rows], rtol=1e-5, atol=1e-6)
    assert torch.equal(task.model.base_model(ids).last_hidden_state, whole)
    for module in (layer, layer.self_attn, layer.self_attn.o_proj):
        assert "forward" not in vars(module)
        assert not module._forward_pre_hooks


def test_a_family_that_reshapes_its_last_states_is_found_out() -> None:
    task, _ = _build_task("gpt2")
    assert not task.spares_rows


def test_dropout_behind_the_attention_forbids_it() -> None:
    task, _ = _build_task("llama")
    assert task._last_layer is not None
    task._last_layer.attention.resid_dropout = nn.Dropout(0.1)
    assert find_last_layer(task._parts) is None


def test_a_layer_that_mixes_rows_after_its_attention_is_found_out() -> None:
    task, _ = _build_task("llama")

    def mix(module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        return output + output.mean(1, keepdim=True)

    task.model.base_model.layers[-1].mlp.register_forward_hook(mix)
    assert find_last_layer(task._parts) is None
