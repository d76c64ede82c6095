"""Attention over packed rows by special kernels: one file each, trusted only after a probe."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from studio.engine.models.attention import Documents

_CHOICES: dict[str, tuple[str, ...]] = {
    "auto": ("varlen", "flash"),
    "flash": ("varlen", "flash"),
    "flex": ("flex",),
}
"""Which kernels a value of ``base.attention`` tries, in order. Flex has to be compiled first,
which takes longer than the first step may wait, so it is used on wish only."""


class Kernel(Protocol):
    """A module that attends within the documents of a packed row."""

    LABEL: str
    """What it is called where people read it."""

    def find_obstacle(self, device: torch.device, dtype: torch.dtype) -> str | None:
        """Returns in a few words why it cannot be used there, None if it can be tried."""
        ...

    def attend(
        self,
        documents: Documents,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scaling: float,
        window: int | None,
    ) -> Tensor:
        """Returns attention within each document, causal, ``(1, tokens, heads, width)``.

        ``query`` is ``(1, heads, tokens, width)``; ``key`` and ``value`` may have fewer heads. A
        token sees the ``window`` tokens that end with itself, None all before it.
        """
        ...


def load_kernels(wish: str) -> Sequence[Kernel]:
    """Returns the kernels that a value of ``base.attention`` allows, the preferred first."""
    return [load_kernel(name) for name in _CHOICES.get(wish, ())]


def load_kernel(name: str) -> Kernel:
    """Returns one kernel by the name of its file."""
    return cast("Kernel", import_module(f"{__name__}.{name}"))
