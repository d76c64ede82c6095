"""The state of random generators is put back, also on another computer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from studio.engine.train.random_state import capture_random_state, restore_random_state


def test_a_run_goes_on_where_one_of_its_cards_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    state = capture_random_state()
    cards = {f"cuda.{index}": state.tensors["torch"] for index in (0, 1)}
    restored: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda _, index: restored.append(index))
    drawn = torch.rand(3)
    restore_random_state(replace(state, tensors={**state.tensors, **cards}))
    assert restored == [0]
    assert torch.equal(torch.rand(3), drawn)
