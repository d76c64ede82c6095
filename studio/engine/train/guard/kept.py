"""Copies of everything that training changes, kept in memory to go back to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from studio.core.memory.auto import can_keep_copies
from studio.engine.train.guard.memory import is_out_of_memory
from studio.engine.train.progress import Progress
from studio.engine.train.random_state import RandomState, restore_random_state

_EVERY_STEPS = 8
_FINE_STEPS = 2
"""After so many fine steps the copy before them counts as good."""


@dataclass
class _Copy:
    progress: Progress
    random_state: RandomState
    parameters: list[Tensor]
    optimizer: dict[int, dict[str, Any]]


class KeptStates:
    """Two copies in turn: the newest, and the one before it that later steps proved good.

    Copies lie in the computer's memory; from a card they are fetched beside the work, without
    waiting. Where the adapter is too large for that (a whole model is trained), none are kept.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        every_steps: int = _EVERY_STEPS,
    ) -> None:
        self._parameters = list(parameters)
        self._optimizer = optimizer
        self._every_steps = every_steps
        self._newest: _Copy | None = None
        self._proven: _Copy | None = None
        self._spare: _Copy | None = None
        self._fine_steps = 0
        self._is_affordable = self._can_afford()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to go back to."""
        return self._newest is None

    def note_fine_step(self, progress: Progress, random_state: RandomState) -> None:
        """Notes that a step went well; copies the state behind it when it is time."""
        self._fine_steps += 1
        if self._fine_steps >= _FINE_STEPS and self._newest is not self._proven:
            self._proven, self._spare = self._newest, self._proven
        if self._fine_steps >= self._every_steps:
            self.take(progress, random_state)

    def take(self, progress: Progress, random_state: RandomState) -> None:
        """Copies the present state, if there is room for it."""
        if not self._is_affordable:
            return
        try:
            self._take(progress, random_state)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._is_affordable = False
            self._newest = self._proven = self._spare = None

    def restore_newest(self) -> Progress | None:
        """Puts the newest copy back; returns its progress, None without a copy."""
        return self._restore(self._newest)

    def restore_proven(self) -> Progress | None:
        """Puts the newest copy back that later steps proved good; returns its progress.

        The first steps of a process have none yet; the copy before them is good by itself.
        """
        progress = self._restore(self._proven or self._newest)
        if self._proven is not None:
            self._newest = self._proven
        self._fine_steps = 0
        return progress

    def _take(self, progress: Progress, random_state: RandomState) -> None:
        # the newest copy is written over only when it never became the proven one
        old = self._spare if self._newest is self._proven else self._newest
        self._spare = None
        self._newest = _Copy(
            progress,
            random_state,
            [
                _copy(parameter.detach(), old.parameters[index] if old else None)
                for index, parameter in enumerate(self._parameters)
            ],
            {
                index: {
                    name: _copy(value, old.optimizer.get(index, {}).get(name) if old else None)
                    for name, value in values.items()
                }
                for index, values in self._optimizer.state_dict()["state"].items()
            },
        )
        self._fine_steps = 0

    @torch.no_grad()
    def _restore(self, copy: _Copy | None) -> Progress | None:
        if copy is None:
            return None
        for card in {parameter.device for parameter in self._parameters if parameter.is_cuda}:
            torch.cuda.synchronize(card)  # the copy may still be on its way
        for parameter, kept in zip(self._parameters, copy.parameters, strict=True):
            parameter.copy_(kept)
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.state.clear()  # first the old numbers go, there may be little memory
        state = {
            index: {
                name: value.clone() if isinstance(value, Tensor) else value
                for name, value in values.items()
            }
            for index, values in copy.optimizer.items()
        }
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        restore_random_state(copy.random_state)
        return copy.progress

    def _can_afford(self) -> bool:
        size = sum(one.numel() * one.element_size() for one in self._parameters)
        return can_keep_copies(size, psutil.virtual_memory().available)


def _copy(value: Any, buffer: Any) -> Any:
    """Returns a copy of a tensor in the computer's memory, in ``buffer`` if it fits there."""
    if not isinstance(value, Tensor):
        return value
    if not isinstance(buffer, Tensor) or buffer.shape != value.shape or buffer.dtype != value.dtype:
        is_on_card = value.is_cuda
        place = torch.device("cpu") if is_on_card else value.device
        buffer = torch.empty_like(value, device=place, pin_memory=is_on_card)
    buffer.copy_(value, non_blocking=True)
    return buffer
