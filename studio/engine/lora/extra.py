"""Modules that are trained in full beside an adapter and saved along with it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from studio.core.errors import RecipeInvalid
from studio.core.weights.matching import is_match, name_nearest
from studio.engine.lora.wrapped import WrappedModule


class TrainedModule(WrappedModule):
    """A copy of a layer that is trained as a whole; ``base`` stays as it was.

    The copy's weights are fp32 and its inputs are brought to that format; its output comes back
    in the format of the base. A layer that shares its weights with another one (tied input and
    output tables) is trained apart from it, as PEFT does.
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__(base)
        self.trained = copy.deepcopy(base)
        for parameter in self.trained.parameters():
            if parameter.is_floating_point() and parameter.dtype != torch.float64:
                parameter.data = parameter.data.float()

    def __getattr__(self, name: str) -> Any:
        try:
            return nn.Module.__getattr__(self, name)
        except AttributeError:
            if name in ("base", "trained"):
                raise
            return getattr(self.trained if self.is_enabled else self.base, name)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Returns what the layer computes, in the format that its base would give."""
        if not self.is_enabled:
            return self.base(*inputs, **named)
        kept = next(self.base.parameters()).dtype
        own = next(self.trained.parameters()).dtype
        if kept == own:
            return self.trained(*inputs, **named)
        output = self.trained(*(_convert(value, own) for value in inputs), **named)
        return _convert(output, kept)

    def iter_trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields the parameters of the copy by their names in the layer."""
        yield from self.trained.named_parameters()


def find_extra_modules(model: nn.Module, patterns: tuple[str, ...]) -> dict[str, nn.Module]:
    """Returns the modules that ``patterns`` name, by full name, in the order of the model.

    A pattern is the end of a name (``lm_head``, ``embed_tokens``) or matches all of it with
    ``*`` and ``?``. Of modules inside each other only the outermost is taken.

    Raises:
        RecipeInvalid: A pattern matches nothing that can be trained.
    """
    known = {
        name: module
        for name, module in model.named_modules()
        if name and next(module.parameters(), None) is not None
    }
    for index, pattern in enumerate(patterns):
        if not any(is_match(pattern, name) for name in known):
            raise RecipeInvalid(
                f"adapter.extra_modules[{index}]: {pattern!r} matches no module of this model.",
                name_nearest(pattern, known),
            )
    found = [name for name in known if any(is_match(pattern, name) for pattern in patterns)]
    return {
        name: known[name]
        for name in found
        if not any(name.startswith(f"{other}.") for other in found)
    }


def _convert(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.to(dtype)
    return value
