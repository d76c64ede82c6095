"""AdamW whose averages are elsewhere steps as torch's does, and never brings them all together."""

from __future__ import annotations

import copy

import torch
from torch import nn

from studio.engine.train.optimizers.adamw_paged import PagedAdamW

SETTINGS = {"lr": 2e-3, "weight_decay": 0.01}


class _Away(PagedAdamW):
    """Treats every parameter as if it lay on a card."""

    def visits(self, parameter: torch.Tensor) -> bool:
        """Returns yes."""
        return True


def _build() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 8))


def _train(model: nn.Sequential, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        rows = torch.randn(32, 24, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(rows) - rows[:, :8]).square().mean().backward()
        optimizer.step()


def test_steps_equal_those_of_torch_wherever_the_averages_are() -> None:
    expected = _build()
    _train(expected, torch.optim.AdamW(expected.parameters(), **SETTINGS), 0, 20)
    for kind in (PagedAdamW, _Away):
        model = _build()
        _train(model, kind([{"params": list(model.parameters())}], **SETTINGS), 0, 20)
        for found, wanted in zip(model.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)


def test_a_saved_state_goes_on_with_the_same_bits() -> None:
    whole, halves = _build(), _build()
    _train(whole, _Away([{"params": list(whole.parameters())}], **SETTINGS), 0, 8)
    before = _Away([{"params": list(halves.parameters())}], **SETTINGS)
    _train(halves, before, 0, 4)
    saved = copy.deepcopy(before.state_dict())
    after = _Away([{"params": list(halves.parameters())}], **SETTINGS)
    after.load_state_dict(saved)
    _train(halves, after, 4, 8)
    for found, wanted in zip(halves.parameters(), whole.parameters(), strict=True):
        assert torch.equal(found, wanted)
    state = saved["state"][0]
    assert state.keys() == {"step", "first", "second"}
    assert float(state["step"]) == 4
