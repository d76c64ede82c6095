"""The state of every random generator that training draws from, as tensors and plain numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomState:
    """A moment of Python's generator and of torch's generators (processor and cards)."""

    python: list[Any]
    tensors: dict[str, Tensor]


def seed_everything(seed: int) -> None:
    """Sets every generator to the start that belongs to ``seed``."""
    random.seed(seed)
    torch.manual_seed(seed)  # seeds the cards as well


def capture_random_state() -> RandomState:
    """Returns the present state."""
    version, numbers, gauss = random.getstate()
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        for index, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"cuda.{index}"] = state
    return RandomState([version, list(numbers), gauss], tensors)


def restore_random_state(state: RandomState) -> None:
    """Sets every generator back to ``state``; those of cards that are gone are left out."""
    version, numbers, gauss = state.python
    random.setstate((version, tuple(numbers), gauss))
    torch.set_rng_state(state.tensors["torch"])
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for name, tensor in state.tensors.items():
        kind, _, index = name.partition(".")
        if kind == "cuda" and int(index) < cards:
            torch.cuda.set_rng_state(tensor, int(index))
