"""Finds the rows and the layers in which a broken step went wrong; only run when one did."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from studio.engine.data.collate import MicroBatch
from studio.engine.models.layers import find_layers
from studio.engine.tasks.causal_lm import CausalTask

_MOST_PLACES = 5
_FAR_ABOVE = 3.0


@dataclass(frozen=True)
class Diagnosis:
    """Where the trouble is, as far as it was found.

    ``has_broken_weights``: trained numbers themselves are no numbers any more. ``is_everywhere``:
    most rows break, so that it is not the rows.
    """

    rows: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    has_broken_weights: bool = False
    is_everywhere: bool = False


def find_broken(tensors: Iterable[tuple[str, Tensor | None]]) -> list[str]:
    """Returns the names of those that hold a number that is none; waits for the device once."""
    present = [(name, one.detach()) for name, one in tensors if one is not None]
    if not present:
        return []
    flags = torch.stack([torch.isfinite(one).all() for _, one in present]).tolist()
    return [name for (name, _), is_fine in zip(present, flags, strict=True) if not is_fine]


def diagnose(
    task: CausalTask,
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    documents: Iterable[tuple[str, MicroBatch]],
) -> Diagnosis:
    """Returns where a step broke that was just computed and whose gradients are still there.

    ``documents`` are the documents of the step, each by itself with its name. Draws from the
    random generators.
    """
    named = list(named_parameters)
    weights = find_broken(named)
    gradients = find_broken((name, parameter.grad) for name, parameter in named)
    broken: list[str] = []
    losses: dict[str, float] = {}
    layers: list[str] = []
    count = 0
    for name, batch in documents:
        if not batch.supervised_tokens:
            continue
        count += 1
        loss = float(task.measure(batch)) / batch.supervised_tokens
        if math.isfinite(loss):
            losses[name] = loss
            continue
        if not broken:
            layers = _find_broken_layers(task, batch)
        broken.append(name)
    if not broken and len(losses) > 1:
        usual = sorted(losses.values())[len(losses) // 2]
        broken = [name for name, loss in losses.items() if loss > _FAR_ABOVE * usual + 1]
    is_everywhere = len(broken) > max(1, count // 2)
    found = weights or layers or gradients
    return Diagnosis(
        () if is_everywhere else tuple(broken[:_MOST_PLACES]),
        tuple(found[:_MOST_PLACES]),
        bool(weights),
        is_everywhere,
    )


def _find_broken_layers(task: CausalTask, batch: MicroBatch) -> list[str]:
    """Returns the first layer that gives broken numbers for ``batch``, as a list of one or none."""
    found: list[int] = []
    with _watched_layers(find_layers(task.model), found):
        task.measure(batch)
    return [f"layer {min(found)}"] if found else []


@contextmanager
def _watched_layers(layers: list[nn.Module], found: list[int]) -> Iterator[None]:
    def watch(index: int) -> Any:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            del module, inputs
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, Tensor) and not bool(torch.isfinite(first).all()):
                found.append(index)

        return note

    handles = [layer.register_forward_hook(watch(index)) for index, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
