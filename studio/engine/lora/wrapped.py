"""What every layer that training changes has in common: its untouched base and a switch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


class WrappedModule(nn.Module):
    """A layer of the model with something trained in its place or beside it.

    ``base`` is the original layer with its weights untouched; every attribute that is not found
    here (``weight``, ``bias``, ``in_features``, …) is looked up there, so that model code which
    reads them keeps working. ``is_enabled = False`` computes the base alone, without any copy.
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.is_enabled = True

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base":  # not built yet: do not look for the base in the base
                raise
            return getattr(self.base, name)

    def iter_trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields what training changes, by its name in this module."""
        raise NotImplementedError

    def fill(self, parameter: nn.Parameter, values: torch.Tensor) -> None:
        """Copies ``values`` into one of the parameters, whatever its device and dtype."""
        with torch.no_grad():
            parameter.copy_(values)
