"""How a step is divided into micro-batches changes nothing but memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from studio.core.recipe.schema import AdapterSettings
from studio.core.recipe.schema_data import DataSettings, DataSource, ValidationFraction
from studio.engine.data.loader import iter_steps
from studio.engine.data.prepare import prepare
from studio.engine.lora.inject import inject
from studio.engine.models.attention import PACKED
from studio.engine.models.body import split_model
from studio.engine.models.files import load_tokenizer
from studio.engine.models.load import load_model
from studio.engine.models.recompute import recompute_layers
from studio.engine.tasks.causal_lm import CausalTask

CPU = torch.device("cpu")


def _get_gradients(
    base: Path,
    chats: Path,
    *,
    micro_batch_tokens: int,
    packs: bool,
    recomputes: bool = False,
    smoothing: float = 0.0,
) -> tuple[float, int, list[torch.Tensor]]:
    model = load_model(base, torch.float32, CPU)
    parts = split_model(model)
    adapter = inject(model, AdapterSettings(rank=4, alpha=8.0), seed=3)
    with torch.no_grad():
        for index, parameter in enumerate(adapter.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=_seed(index)) * 0.1)
    if packs:
        model.set_attn_implementation(PACKED)
    if recomputes:
        recompute_layers(model)
    model.train()
    settings = DataSettings(
        train=(DataSource(source=str(chats)),), validation=ValidationFraction(fraction=0)
    )
    data = prepare(settings, load_tokenizer(base), 256, base_folder=base)
    plan = next(
        iter_steps(
            data.train,
            batch_sequences=8,
            micro_batch_tokens=micro_batch_tokens,
            seed=0,
            epoch=0,
            packs=packs,
        )
    )
    task = CausalTask(parts, smoothing=smoothing)
    measured = sum(float(task.measure(batch)) for batch in plan.micro_batches)
    total = sum(
        float(task.add_gradients(batch, plan.supervised_tokens)) for batch in plan.micro_batches
    )
    assert (measured == pytest.approx(total, rel=1e-5)) == (not smoothing)
    gradients = [parameter.grad for parameter in adapter.parameters()]
    return total / plan.supervised_tokens, len(plan.micro_batches), gradients


def _seed(index: int) -> torch.Generator:
    return torch.Generator().manual_seed(index)


@pytest.mark.parametrize(
    ("micro_batch_tokens", "packs", "recomputes"),
    [
        (1, True, False),
        (70, True, False),
        (1, False, False),
        (4096, False, False),
        (70, True, True),
    ],
)
def test_one_times_eight_equals_eight_times_one(
    tiny_base: Path, tiny_chats: Path, micro_batch_tokens: int, packs: bool, recomputes: bool
) -> None:
    loss, count, gradients = _get_gradients(
        tiny_base, tiny_chats, micro_batch_tokens=4096, packs=True
    )
    assert count == 1
    other_loss, other_count, other_gradients = _get_gradients(
        tiny_base,
        tiny_chats,
        micro_batch_tokens=micro_batch_tokens,
        packs=packs,
        recomputes=recomputes,
    )
    assert other_count == {1: 8, 4096: 1}.get(micro_batch_tokens, other_count)
    assert other_loss == pytest.approx(loss, rel=1e-6)
    for one, other in zip(gradients, other_gradients, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("packs", [True, False])
def test_smoothed_targets_count_in_training_in_every_division_and_never_in_what_is_measured(
    packs: bool, tiny_base: Path, tiny_chats: Path
) -> None:
    plain, *_ = _get_gradients(tiny_base, tiny_chats, micro_batch_tokens=4096, packs=packs)
    results = [
        _get_gradients(tiny_base, tiny_chats, micro_batch_tokens=tokens, packs=packs, smoothing=0.3)
        for tokens in (1, 4096)
    ]
    assert results[0][0] != pytest.approx(plain, abs=1e-4)
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    for one, other in zip(results[0][2], results[1][2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
