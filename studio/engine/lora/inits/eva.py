"""A from the main directions of what each layer sees in the user's own data (EVA)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from studio.engine.data.collate import IGNORED, MicroBatch
from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.inits.kaiming import initialise as initialise_rest
from studio.engine.lora.inits.pissa_fast import find_main_parts
from studio.engine.lora.linear import AdaptedLinear

MOST_BATCHES = 32
"""Micro-batches after which the directions are taken as they are."""

_SETTLED = 0.99
"""Cosine between a direction before and after a micro-batch above which it counts as found."""

_MOST_ROWS = 1024
"""Tokens of one micro-batch that are looked at; more cost time and change little."""

_SPARE = 16
"""Directions beyond the rank that are kept between micro-batches: their variance may add up."""


def initialise(module: AdaptedModule, generator: torch.Generator) -> None:
    """Fills A at random and B with zeros; ``start_from_inputs`` replaces A by what it found."""
    initialise_rest(module, generator)


class MainDirections:
    """The directions in which most of the variance of some rows lies, found piece by piece.

    After ``add`` has seen rows, ``directions`` is ``(count, width)`` with orthonormal rows, the
    most important first, and ``is_settled`` says whether the last piece hardly turned them.

    Source: Ross et al. 2008, "Incremental learning for robust visual tracking", section 3.1, with
    the approximate decomposition of ``pissa_fast``.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        self.count = count
        self.directions: torch.Tensor | None = None
        self.is_settled = False
        self._generator = torch.Generator().manual_seed(seed)
        self._kept = torch.zeros(0)
        self._values = torch.zeros(0)
        self._mean = torch.zeros(0)
        self._rows = 0

    def add(self, rows: torch.Tensor) -> None:
        """Takes ``rows`` of ``(rows, width)`` into account, unless there are too few of them."""
        if len(rows) < 2:
            return
        rows = rows.float()
        mean = rows.mean(0)
        pieces = [rows - mean]
        if self.directions is not None:
            turn = (self._rows * len(rows) / (self._rows + len(rows))) ** 0.5
            pieces = [self._values[:, None] * self._kept, *pieces]
            pieces.append(turn * (self._mean - mean)[None])
            mean = mean + (self._mean - mean) * (self._rows / (self._rows + len(rows)))
        room = self.count + _SPARE
        _, self._values, self._kept = find_main_parts(torch.cat(pieces), room, self._generator)
        before, self.directions = self.directions, self._kept[: self.count]
        self._mean = mean
        self._rows += len(rows)
        if before is not None and before.shape == self.directions.shape:
            cosines = (before * self.directions).sum(1).abs()
            self.is_settled = bool((cosines > _SETTLED).all())


def start_from_inputs(
    adapter: Adapter,
    batches: Iterable[MicroBatch],
    compute: Callable[[MicroBatch], object],
) -> int:
    """Sets A of the adapted linear layers to the main directions of their inputs.

    ``compute`` runs the model on a micro-batch. Only positions from which a supervised token is
    predicted count. Stops when all directions have settled, or after ``MOST_BATCHES``. Layers
    that are no linear ones keep their random start. The ranks stay as they are (rho = 1).

    Returns:
        How many micro-batches were looked at.

    Source: Paischer et al. 2024 (arXiv 2410.07170), algorithm 1, without whitening.
    """
    watch = _Watch(adapter)
    seen = 0
    with _watching(watch, adapter.model):
        for batch in batches:
            watch.begin(batch)
            compute(batch)
            seen += 1
            if seen == MOST_BATCHES or watch.is_settled():
                break
    watch.fill()
    return seen


class _Watch:
    """Collects the inputs of the adapted layers; layers with the same input share the work."""

    def __init__(self, adapter: Adapter) -> None:
        self.modules = {n: m for n, m in adapter.modules.items() if isinstance(m, AdaptedLinear)}
        self._found: dict[str, MainDirections] = {}
        self._leaders: dict[str, str] = {}
        self._last: tuple[torch.Tensor, str] | None = None
        self._rows: torch.Tensor | None = None
        self._tokens = 0

    def begin(self, batch: MicroBatch) -> None:
        """Gets ready for the forward pass of ``batch``."""
        targets = batch.targets.flatten()
        self._tokens = targets.numel()
        self._rows = (targets != IGNORED).nonzero().squeeze(1)
        self._last = None

    def see(self, name: str, inputs: torch.Tensor) -> None:
        """Takes the inputs of module ``name`` into account, ``(…, width)``."""
        if name not in self._leaders:
            shares = self._last is not None and self._last[0] is inputs
            self._leaders[name] = self._last[1] if self._last and shares else name
        leader = self._leaders[name]
        self._last = (inputs, leader)
        if leader != name:
            return
        rows = inputs.detach().flatten(0, -2)
        # the last layer may have been given the supervised rows only
        if self._rows is not None and len(rows) == self._tokens:
            rows = rows[self._rows.to(rows.device)]
        stride = -(-len(rows) // _MOST_ROWS) or 1
        if name not in self._found:
            self._found[name] = MainDirections(self._get_rank(name))
        self._found[name].add(rows[::stride])

    def is_settled(self) -> bool:
        """Whether another micro-batch would change little."""
        return bool(self._found) and all(found.is_settled for found in self._found.values())

    def fill(self) -> None:
        """Writes what was found into A; rows that the data do not span stay random."""
        for name, leader in self._leaders.items():
            directions = self._found[leader].directions
            if directions is None:
                continue
            module = self.modules[name]
            lora_a = module.lora_A.detach().clone()
            count = min(module.rank, len(directions))
            lora_a[:count] = directions[:count]
            module.fill(module.lora_A, lora_a)

    def _get_rank(self, name: str) -> int:
        """Returns the largest rank, because any later module may turn out to share the input."""
        width = self.modules[name].lora_A.shape[1]
        return min(max(module.rank for module in self.modules.values()), width)


@contextmanager
def _watching(watch: _Watch, model: nn.Module) -> Iterator[None]:
    def make_hook(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda _module, inputs: watch.see(name, inputs[0])

    handles = [m.register_forward_pre_hook(make_hook(n)) for n, m in watch.modules.items()]
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
