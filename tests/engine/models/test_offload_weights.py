"""Layers that only visit the device give the same gradients, and at most two are there."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core.events.types import NoticeRaised, RunFinished, StepFinished
from studio.core.memory.recomputing import Recomputing
from studio.core.recipe.load import load_recipe
from studio.core.recipe.save import save_recipe
from studio.core.recipe.schema import AdapterSettings
from studio.core.runs.layout import RunLayout
from studio.engine.held.layer import AwayWeights, QuantisedLayer, find_quantisation
from studio.engine.lora.inject import inject
from studio.engine.models.attention import PACKED
from studio.engine.models.body import split_model
from studio.engine.models.offload_weights import WeightOffload, offload_weights
from studio.engine.models.packing_probe import is_packing_exact
from studio.engine.models.recompute import recompute_each
from studio.engine.tasks.causal_lm import CausalTask
from tests.engine.lora.tiny_models import build_model
from tests.engine.models.test_recompute import _build_batch, _get_gradients
from tests.engine.quant.stored_base import store_base
from tests.engine.quant.tiny_quantised import quantise_model
from tests.engine.tiny_run import build_base, build_run, of_type, train_run

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

CPU = torch.device("cpu")
LAYERS = 5


def _build(
    family: str, *, offloads: bool, kind: str = "none", **settings: Any
) -> tuple[CausalTask, list[Any], WeightOffload | None]:
    model = build_model(family, num_hidden_layers=LAYERS)
    if kind != "none":
        quantise_model(model, kind)
    adapter = inject(model, AdapterSettings(rank=4, alpha=8.0, **settings), seed=0)
    numbers = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=numbers) * 0.05)
    offload = offload_weights(model, CPU) if offloads else None
    parts = split_model(model)
    assert parts.is_split
    assert is_packing_exact(model)
    model.set_attn_implementation(PACKED)
    model.train()
    return CausalTask(parts), adapter.parameters(), offload


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt_neox"])
@pytest.mark.parametrize("counts", [(LAYERS, 0, 0), (0, LAYERS, 0), (0, 0, LAYERS), (2, 1, 2)])
def test_layers_in_turn_give_the_same_gradients(family: str, counts: tuple[int, ...]) -> None:
    settings = {"layers": "1-4"} if counts == (2, 1, 2) else {}
    task, parameters, _ = _build(family, offloads=False, **settings)
    expected = _get_gradients(task, parameters)
    task, parameters, offload = _build(family, offloads=True, **settings)
    assert offload is not None
    recompute_each(task.model, Recomputing(*counts))
    for _ in range(2):
        for one, other in zip(_get_gradients(task, parameters), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    batch = _build_batch()
    assert torch.isfinite(task.measure(batch))
    assert 0 < offload.most_resident_bytes <= 2 * offload.largest_layer_bytes


def test_what_is_away_takes_no_memory_and_is_never_used_unseen() -> None:
    task, _, offload = _build("llama", offloads=True)
    assert offload is not None
    layers = task.model.base_model.layers
    for layer in (layers[0], layers[3]):
        for parameter in layer.parameters():
            if not parameter.requires_grad:
                assert parameter.untyped_storage().nbytes() == parameter.element_size()
                assert parameter.isnan().all()
    whole = sum(p.numel() * p.element_size() for layer in layers for p in layer.parameters())
    assert offload.resident_bytes < 0.5 * whole


def _train(folder: Path, base: Path, data: Path, **base_settings: str) -> tuple[RunLayout, Any]:
    layout = build_run(folder, base, data, steps=4, micro_batch_tokens=60)
    recipe = load_recipe(layout.recipe)
    changed = recipe.base.model_copy(update=base_settings)
    save_recipe(recipe.model_copy(update={"base": changed}), layout.recipe)
    return layout, train_run(layout)


def test_a_run_whose_base_stays_in_the_computers_memory_is_the_same_run(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    _, plain = _train(tmp_path / "plain", tiny_base, tiny_chats)
    layout, events = _train(tmp_path / "run", tiny_base, tiny_chats, offload="layers")
    assert isinstance(events[-1], RunFinished)
    assert "base_offloaded" in {event.code for event in of_type(events, NoticeRaised)}
    losses = [event.loss for event in of_type(events, StepFinished)]
    assert losses == pytest.approx([e.loss for e in of_type(plain, StepFinished)], rel=1e-5)
    _, automatic = _train(tmp_path / "auto", tiny_base, tiny_chats, offload="auto")
    assert "base_offloaded" not in {event.code for event in of_type(automatic, NoticeRaised)}
    assert load_recipe(layout.recipe).base.offload == "layers"


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("counts", [(LAYERS, 0, 0), (2, 1, 2)])
def test_quantised_layers_in_turn_give_the_same_gradients(
    kind: str, counts: tuple[int, ...]
) -> None:
    task, parameters, _ = _build("llama", offloads=False, kind=kind)
    expected = _get_gradients(task, parameters)
    task, parameters, offload = _build("llama", offloads=True, kind=kind)
    assert offload is not None
    recompute_each(task.model, Recomputing(*counts))
    for _ in range(2):
        for one, other in zip(_get_gradients(task, parameters), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    assert 0 < offload.most_resident_bytes <= 2 * offload.largest_layer_bytes
    layers = task.model.base_model.layers
    held = [m for m in layers[0].modules() if isinstance(m, QuantisedLayer)]
    codes = sum(m.get_held().shape[0] * m.get_held().shape[1] for m in held)
    assert offload.largest_layer_bytes >= codes // (2 if kind == "nf4" else 1)
    away = [m for m in layers[LAYERS - 1].modules() if isinstance(m, QuantisedLayer)]
    assert all(isinstance(m.get_held(), AwayWeights) for m in away)
    assert find_quantisation(task.model) == kind
    for use in (away[0].get_held().unfold, partial(away[0].get_held().borrow, torch.float32)):
        with pytest.raises(LookupError, match="away"):
            use()


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_run_whose_quantised_base_stays_in_the_computers_memory_is_the_same_run(
    is_stored: bool, tmp_path: Path, tiny_chats: Path
) -> None:
    base = build_base(tmp_path / "base", hidden_size=64, intermediate_size=128)
    base = store_base(tmp_path / "stored", base) if is_stored else base
    wish = {} if is_stored else {"quantisation": "nf4"}
    _, plain = _train(tmp_path / "plain", base, tiny_chats, **wish)
    _, events = _train(tmp_path / "run", base, tiny_chats, offload="layers", **wish)
    assert isinstance(events[-1], RunFinished)
    codes = {event.code for event in of_type(events, NoticeRaised)}
    assert {"base_offloaded", "base_quantised"} <= codes
    losses = [event.loss for event in of_type(events, StepFinished)]
    assert losses == [event.loss for event in of_type(plain, StepFinished)]
