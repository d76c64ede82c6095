"""Models whose linear layers are quantised one by one while their files are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from studio.core.weights.matching import is_match
from studio.core.weights.quantisable import is_quantisable
from studio.engine.held.experts import (
    ExpertMatrix,
    is_quantisable_experts,
    quantise_experts,
)
from studio.engine.held.layer import (
    Note,
    Quantise,
    QuantisedConv1D,
    QuantisedLayer,
    QuantisedLinear,
)

_ASYNC = "HF_DEACTIVATE_ASYNC_LOAD"
Watch = Callable[[nn.Module], "dict[str, Note]"]


@dataclass(frozen=True)
class QuantisedBase:
    """How much of a model is quantised: ``layers`` of them, ``weights`` in them.

    ``held_bytes`` is what these weights take now, ``dense_bytes`` what they would take in the
    model's own number format.
    """

    layers: int
    weights: int
    held_bytes: int
    dense_bytes: int


@dataclass(frozen=True)
class Quantising:
    """How to quantise: ``kind`` (nf4, int8), its function (None: it is done already), and the rest.

    Modules that a pattern in ``keeps`` names stay as they are. ``watch`` is asked, once the empty
    model is there, which of its layers want to be shown their weights before these are gone. What
    is quantised on ``device`` is kept at ``home``, there if None.
    """

    kind: str
    quantise: Quantise | None
    dtype: torch.dtype
    device: torch.device
    keeps: tuple[str, ...] = ()
    watch: Watch | None = field(default=None)
    home: torch.device | None = None

    def convert(self, model: nn.Module) -> None:
        """Puts a layer that quantises in the place of every linear layer that shall be."""
        for name, module in iter_quantisable(model, self.keeps):
            replace_module(model, name, self.build(module))
        for experts in iter_quantisable_experts(model, self.keeps):
            quantise_experts(experts, self.build_matrix)
        notes = {} if self.watch is None else self.watch(model)
        for name, note in notes.items():
            layer = model.get_submodule(name)
            if isinstance(layer, QuantisedLayer):
                layer.note = note

    def build(self, module: nn.Linear | Conv1D) -> QuantisedLayer:
        """Returns the layer that stands in the place of ``module``, without weights."""
        kind = QuantisedConv1D if isinstance(module, Conv1D) else QuantisedLinear
        layer: QuantisedLayer = kind(module, self.quantise, self.dtype, self.device)
        layer.home = self.home or self.device
        return layer

    def build_matrix(self) -> ExpertMatrix:
        """Returns what holds one projection of one expert, without weights."""
        home = self.home or self.device
        return ExpertMatrix(self.quantise, self.dtype, self.device, home)


def iter_quantisable_experts(model: nn.Module, keeps: tuple[str, ...] = ()) -> Iterator[nn.Module]:
    """Yields the modules whose stacked experts are held in fewer bits as well."""
    for name, module in list(model.named_modules()):
        if not _is_kept(name, keeps) and is_quantisable_experts(name, module):
            yield module


def iter_quantisable(
    model: nn.Module, keeps: tuple[str, ...] = ()
) -> Iterator[tuple[str, nn.Linear | Conv1D]]:
    """Yields the modules that are held in fewer bits when ``model`` is quantised, by name."""
    for name, module in list(model.named_modules()):
        if type(module) in (nn.Linear, Conv1D) and not _is_kept(name, keeps):
            layer = cast("nn.Linear | Conv1D", module)
            if is_quantisable(name, layer.weight.shape):
                yield name, layer


def replace_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Puts ``module`` in the place ``name`` of ``model``."""
    owner, _, last = name.rpartition(".")
    setattr(model.get_submodule(owner), last, module)


@contextmanager
def quantising_class(
    kind: type[PreTrainedModel], convert: Callable[[nn.Module], None]
) -> Iterator[type[PreTrainedModel]]:
    """Yields a model class whose instances are converted before their weights are read.

    Weights are read one after the other inside the block: read ahead on other threads, the whole
    model would stand in memory before it is quantised.
    """

    def build(self: PreTrainedModel, config: Any, *args: Any, **kwargs: Any) -> None:
        kind.__init__(self, config, *args, **kwargs)
        convert(self)

    # the same name, because transformers looks up by it what a family's files are called
    names = {"__init__": build, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    before = os.environ.get(_ASYNC)
    os.environ[_ASYNC] = "1"
    try:
        yield type(kind.__name__, (kind,), names)
    finally:
        if before is None:
            os.environ.pop(_ASYNC)
        else:
            os.environ[_ASYNC] = before


def measure_quantised(model: nn.Module) -> QuantisedBase | None:
    """Returns how much of ``model`` is quantised, None where nothing is."""
    layers = [module for module in model.modules() if isinstance(module, QuantisedLayer)]
    if not layers:
        return None
    held = [layer.get_held() for layer in layers]
    weights = [one.shape[0] * one.shape[1] for one in held]
    return QuantisedBase(
        len(layers),
        sum(weights),
        sum(one.byte_count for one in held),
        sum(
            count * layer.compute_dtype.itemsize
            for count, layer in zip(weights, layers, strict=True)
        ),
    )


def count_parameters(model: nn.Module) -> int:
    """Returns how many numbers ``model`` consists of, however many bits each of them takes."""
    codes = {
        id(module.weight): module.get_held().shape
        for module in model.modules()
        if isinstance(module, QuantisedLayer)
    }
    total = 0
    for parameter in model.parameters():
        shape = codes.get(id(parameter))
        total += parameter.numel() if shape is None else shape[0] * shape[1]
    return total


def _is_kept(name: str, keeps: tuple[str, ...]) -> bool:
    return any(is_match(pattern, part) for pattern in keeps for part in _get_wholes(name))


def _get_wholes(name: str) -> list[str]:
    """Returns the names of the module ``name`` and of all that it is a part of."""
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]
