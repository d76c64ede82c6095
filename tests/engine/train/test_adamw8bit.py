"""AdamW in 8 bits learns as AdamW does, steps as bitsandbytes does, and resumes exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from studio.core.events.types import StepFinished
from studio.core.jobs.orders import Stop
from studio.engine.train.optimizers.adamw8bit import AdamW8bit
from tests.engine.quant.bitsandbytes_referee import load_bitsandbytes
from tests.engine.tiny_run import ScriptedControl, build_run, of_type, train_run


def _build(seed: int = 0) -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(96, 64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    rows = torch.randn(256, 96, generator=generator)
    goal = torch.tanh(rows @ torch.randn(96, 64, generator=generator) * 0.3)
    return layer, rows, goal


def _train(make: object, steps: int) -> tuple[nn.Linear, list[float]]:
    layer, rows, goal = _build()
    optimizer = make(list(layer.parameters()))
    losses = []
    for step in range(steps):
        part = slice(step * 32 % 256, step * 32 % 256 + 32)
        loss = (layer(rows[part]) - goal[part]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return layer, losses


def _ours(parameters: list[nn.Parameter]) -> AdamW8bit:
    return AdamW8bit([{"params": parameters}], 2e-3, 0.01)


def test_two_hundred_steps_learn_as_with_full_moments() -> None:
    _, ours = _train(_ours, 200)
    _, full = _train(lambda p: torch.optim.AdamW(p, 2e-3, weight_decay=0.01), 200)
    assert full[-1] < 0.5 * full[0]
    for found, expected in zip(ours[-20:], full[-20:], strict=True):
        assert found == pytest.approx(expected, rel=0.03)


def test_moments_take_a_quarter_and_small_matrices_stay_exact() -> None:
    layer, _, _ = _build()
    optimizer = _ours(list(layer.parameters()))
    layer(torch.ones(2, 96)).sum().backward()
    optimizer.step()
    state = optimizer.state[layer.weight]
    assert state["first"].dtype == state["second"].dtype == torch.uint8
    size = sum(state[name].nbytes for name in state if name != "step")
    assert size == 2 * 96 * 64 * (1 + 4 / 256)
    assert optimizer.state[layer.bias]["first"].dtype == torch.float32


@pytest.mark.referee
def test_steps_equal_those_of_bitsandbytes() -> None:
    bnb = load_bitsandbytes()
    ours, _ = _train(_ours, 10)
    theirs, _ = _train(lambda p: bnb.optim.AdamW8bit(p, 2e-3, weight_decay=0.01), 10)
    start, _, _ = _build()
    with torch.no_grad():
        moved = (theirs.weight - start.weight).norm()
        off = (ours.weight - theirs.weight).norm()
    assert float(off / moved) < 0.03


def test_a_stopped_run_goes_on_with_the_same_bits(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    losses = []
    for name in ("whole", "stopped"):
        layout = build_run(
            tmp_path / name,
            tiny_base,
            tiny_chats,
            adapter={"rank": 128, "alpha": 128.0},
            optimizer="adamw8bit",
            steps=6,
        )
        control = ScriptedControl(layout)
        if name == "stopped":
            control.at(lambda events: len(of_type(events, StepFinished)) == 3, Stop())
        events = train_run(layout, control)
        if name == "stopped":
            events += train_run(layout)
        losses.append([event.loss for event in of_type(events, StepFinished)])
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]
