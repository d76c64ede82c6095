"""Layers whose weights a model uses without calling them carry no adapter."""

from __future__ import annotations

import pytest
import torch
import transformers

from studio.core.errors import RecipeInvalid
from studio.core.recipe.schema import AdapterSettings
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.bypassed import leave_out_bypassed, noting_calls
from studio.engine.lora.inject import inject
from studio.engine.models.body import split_model
from tests.engine.lora.tiny_models import build_batch, build_model, compute_loss


def _leave_out(model: transformers.PreTrainedModel, adapter: Adapter) -> list[str]:
    with noting_calls(adapter) as called:
        split_model(model)
    return leave_out_bypassed(adapter, model, called)


def test_mambas_step_sizes_are_left_out_and_all_else_learns() -> None:
    model = build_model("mamba")
    adapter = inject(model, AdapterSettings(rank=2, alpha=4.0), seed=0)
    assert len(adapter.modules) == 8
    found = _leave_out(model, adapter)
    assert found == [f"backbone.layers.{layer}.mixer.dt_proj" for layer in (0, 1)]
    assert not set(found) & set(adapter.modules)
    assert type(model.get_submodule(found[0])) is torch.nn.Linear
    assert not any(p.requires_grad for p in model.get_submodule(found[0]).parameters())
    compute_loss(model, build_batch()).backward()
    assert all(module.lora_B.grad.any() for module in adapter.modules.values())


def test_nothing_else_to_train_is_refused() -> None:
    model = build_model("mamba")
    adapter = inject(model, AdapterSettings(rank=2, targets=("dt_proj",)), seed=0)
    with pytest.raises(RecipeInvalid, match="without calling them"):
        _leave_out(model, adapter)


def test_layers_that_merely_rest_keep_their_adapter() -> None:
    model = build_model("llama").eval()
    adapter = inject(model, AdapterSettings(rank=2), seed=0)
    names = list(adapter.modules)
    assert leave_out_bypassed(adapter, model, set()) == []  # as if none had been called
    with noting_calls(adapter) as called:
        model(input_ids=build_batch())
    assert called == set(names) == set(adapter.modules)
    model.base_model.layers[1].forward = lambda hidden, *_, **__: hidden
    with noting_calls(adapter) as called:
        model(input_ids=build_batch())
    assert len(called) == len(names) // 2
    assert leave_out_bypassed(adapter, model, called) == []
    assert list(adapter.modules) == names
