"""Modules that are trained in full beside an adapter and saved along with it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from studio.core.errors import RecipeInvalid
from studio.core.weights.matching import is_match, name_nearest
from studio.engine.held.layer import QuantisedLayer, unfold_layers
from studio.engine.lora.wrapped import WrappedModule


class TrainedModule(WrappedModule):
    """A copy of a layer that is trained as a whole; ``base`` stays as it was.

    The copy's weights are fp32; over a 16-bit base the products are computed in the base's format
    and the output comes back in it.
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__(base)
        # The configuration stays shared: changing it for the model must reach the copy as well.
        configs = [getattr(module, "config", None) for module in base.modules()]
        copied = copy.deepcopy(base, {id(config): config for config in configs if config})
        self.trained = unfold_layers(copied)
        self._shared: set[str] = set()
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
        dtype, device = _get_format(self.base)
        if dtype not in (torch.bfloat16, torch.float16):
            return self.trained(*inputs, **named)
        with torch.autocast(device.type, dtype):
            output = self.trained(*inputs, **named)
        return _convert(output, dtype)

    def iter_trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields the parameters of the copy by their names in the layer, shared ones not again."""
        for name, parameter in self.trained.named_parameters():
            if name not in self._shared:
                yield name, parameter

    def iter_shared(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields the parameters that another module trains, by their names in the layer."""
        for name in sorted(self._shared):
            yield name, self.trained.get_parameter(name)

    def share(self, name: str, parameter: nn.Parameter) -> None:
        """Puts ``parameter``, which another module trains, in the place of the one of that name."""
        owner, _, last = name.rpartition(".")
        setattr(self.trained.get_submodule(owner), last, parameter)
        self._shared.add(name)


def build_extras(
    model: nn.Module, chosen: dict[str, nn.Module], *, keeps_ties: bool
) -> dict[str, TrainedModule]:
    """Returns the modules in ``chosen`` (by full name) wrapped to be trained in full.

    A weight that several modules of the model share (tied input and output tables) is trained
    once for all of them with ``keeps_ties``, else apart, as PEFT does where it is not asked.
    """
    extras: dict[str, TrainedModule] = {}
    trained: dict[int, nn.Parameter] = {}
    candidates = dict(chosen)
    if keeps_ties:
        ids = {id(parameter) for module in chosen.values() for parameter in module.parameters()}
        candidates |= {
            name: module
            for name, module in model.named_modules()
            if any(id(parameter) in ids for parameter in module.parameters(recurse=False))
            and not any(f"{name}.".startswith(f"{other}.") for other in chosen)
        }
    for name, module in candidates.items():
        extras[name] = TrainedModule(module)
        own = dict(extras[name].trained.named_parameters())
        for own_name, parameter in module.named_parameters():
            if keeps_ties and id(parameter) in trained:
                extras[name].share(own_name, trained[id(parameter)])
            trained.setdefault(id(parameter), own[own_name])
    return extras


def find_all_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Returns the modules that hold all parameters of ``model``, by full name."""
    found = {
        name: module
        for name, module in model.named_modules()
        if name and next(module.parameters(recurse=False), None) is not None
    }
    return _drop_inner(found)


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
    return _drop_inner({name: known[name] for name in found})


def _drop_inner(modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
    return {
        name: module
        for name, module in modules.items()
        if not any(name.startswith(f"{other}.") for other in modules)
    }


def _get_format(module: nn.Module) -> tuple[torch.dtype, torch.device]:
    """Returns the dtype that ``module`` computes in, and where it is."""
    first = next(module.parameters())
    for part in module.modules():
        if isinstance(part, QuantisedLayer):
            return part.compute_dtype, first.device
    return first.dtype, first.device


def _convert(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.to(dtype)
    return value
