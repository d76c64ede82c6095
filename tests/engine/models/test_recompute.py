"""What is recomputed or moved away meanwhile gives the same gradients and keeps what it says."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.core.errors import ModelUnusable
from studio.core.events.types import SettingResolved, StepFinished
from studio.core.memory.recomputing import Recomputing
from studio.core.recipe.load import load_recipe
from studio.core.recipe.schema import AdapterSettings
from studio.engine.data.collate import MicroBatch, collate_packed
from studio.engine.data.example import Example
from studio.engine.lora.inject import inject
from studio.engine.models.attention import PACKED
from studio.engine.models.body import split_model
from studio.engine.models.offload_saved import offload_saved
from studio.engine.models.offload_weights import offload_weights
from studio.engine.models.recompute import (
    LayerRecomputing,
    recompute_each,
    recompute_layers,
    recompute_mlps,
)
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train import resolve
from tests.engine.lora.tiny_models import build_model
from tests.engine.models.test_saved_bytes import build, forecast, measure_saved
from tests.engine.tiny_run import build_run, of_type, train_run

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

LAYERS = 4


def _build(family: str = "llama", **settings: Any) -> tuple[Any, CausalTask, list[Any]]:
    model = build_model(family, num_hidden_layers=LAYERS)
    parts = split_model(model)
    adapter = inject(model, AdapterSettings(rank=4, alpha=8.0, **settings), seed=0)
    numbers = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=numbers) * 0.05)
    model.set_attn_implementation(PACKED)
    model.train()
    return model, CausalTask(parts), adapter.parameters()


def _build_batch() -> MicroBatch:
    numbers = np.random.default_rng(0)
    return collate_packed(
        [
            Example(
                numbers.integers(3, 60, count).astype(np.int32),
                np.arange(count) > count // 2, 0, 0, "",
            )
            for count in (40, 70, 25)
        ]
    )  # fmt: skip


def _get_gradients(task: CausalTask, parameters: list[Any]) -> list[torch.Tensor]:
    torch.manual_seed(7)
    batch = _build_batch()
    task.add_gradients(batch, batch.supervised_tokens)
    found = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    return found


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_each_layer_may_recompute_something_else_and_change_its_mind(family: str) -> None:
    model, task, parameters = _build(family, dropout=0.1)
    expected = _get_gradients(task, parameters)
    for counts in ((1, 2, 1), (4, 0, 0), (0, 3, 1), (2, 0, 2), (0, 0, 4), (0, 4, 0)):
        recompute_each(model, Recomputing(*counts))
        for one, other in zip(_get_gradients(task, parameters), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_mixed_layers_keep_the_sum_of_what_each_keeps() -> None:
    settings = AdapterSettings(rank=8)
    sizes = {}
    for mode in ("none", "mlp"):
        model, anatomy = build("llama", torch.float32, num_hidden_layers=4)
        sizes[mode] = measure_saved(model, settings, [500], mode)
    model, anatomy = build("llama", torch.float32, num_hidden_layers=4)
    recompute_each(model, Recomputing(none=2, mlp=2))
    found = measure_saved(model, settings, [500], "kept as it is")
    assert found == pytest.approx((sizes["none"] + sizes["mlp"]) / 2, rel=0.01)
    assert sizes["none"] == pytest.approx(forecast(anatomy, settings, [500], 4), rel=0.03)


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt_neox"])
def test_what_is_moved_to_the_computers_memory_comes_back_unchanged(family: str) -> None:
    model, task, parameters = _build(family)
    expected = _get_gradients(task, parameters)
    offload = offload_saved(model)
    for _ in range(2):
        found = _get_gradients(task, parameters)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)
    assert offload.moved_bytes > 0


def test_nearly_everything_that_layers_keep_is_moved_and_nothing_twice() -> None:
    settings = AdapterSettings(rank=8)
    model, anatomy = build("llama", torch.float32)
    kept = forecast(anatomy, settings, [500], 4)
    parts = split_model(model)
    inject(model, settings, seed=0)
    model.set_attn_implementation(PACKED)
    offload = offload_saved(model)
    task = CausalTask(parts)
    batch = collate_packed([Example(np.arange(500) % 50 + 3, np.ones(500, np.bool_), 0, 0, "")])
    task.add_gradients(batch, batch.supervised_tokens)
    layers = model.config.num_hidden_layers
    assert offload.moved_bytes == pytest.approx(kept * (layers - 1) / layers, rel=0.06)


def test_deepening_ends_with_everything_recomputed() -> None:
    model, task, parameters = _build()
    expected = _get_gradients(task, parameters)
    layers = LayerRecomputing(model, Recomputing(none=1, mlp=3))
    assert layers.deepen() == Recomputing(all=4)
    assert layers.deepen() is None
    for one, other in zip(_get_gradients(task, parameters), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    fixed = LayerRecomputing(build_model("llama"), Recomputing(none=2), "offload")
    assert fixed.deepen() is None


@pytest.mark.parametrize("mode", ["mlp", "all", "offload", "weights"])
def test_a_model_that_cannot_save_memory_so_is_refused_with_another_way(mode: str) -> None:
    model = build_model("llama")
    model.config.num_hidden_layers = 9  # so that its two layers are not found
    model.supports_gradient_checkpointing = False
    ways = {
        "mlp": recompute_mlps,
        "all": recompute_layers,
        "offload": offload_saved,
        "weights": partial(offload_weights, device=torch.device("cpu")),
    }
    with pytest.raises(ModelUnusable, match="cannot") as refusal:
        ways[mode](model)
    is_base = mode == "weights"
    assert refusal.value.code == ("offload" if is_base else "checkpointing") + "_unsupported"
    assert ("base.offload" if is_base else "train.checkpointing") in refusal.value.remedy


def test_a_run_is_the_same_whatever_is_recomputed_or_moved(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = {}
    for mode in ("none", "offload", "auto"):
        layout = build_run(
            tmp_path / mode, tiny_base, tiny_chats, steps=4, checkpointing=mode,
            micro_batch_tokens=70,
        )  # fmt: skip
        if mode == "auto":  # there is room for nearly everything
            monkeypatch.setattr(resolve, "get_free_bytes", lambda _: 2 * 40 * 3600)
        events = train_run(layout)
        losses[mode] = [event.loss for event in of_type(events, StepFinished)]
        chosen = [e.value for e in of_type(events, SettingResolved) if "checkpoint" in e.key]
        if mode == "auto":
            assert chosen == ["mlp in 1 of 2 layers"]
            assert load_recipe(layout.recipe).train.checkpointing == "auto"
    for mode in ("offload", "auto"):
        assert losses[mode] == pytest.approx(losses["none"], rel=1e-5)
