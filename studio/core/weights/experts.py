"""The stacks of experts that a loaded model has, found from files that list experts one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from studio.core.weights.header import TensorEntry

_SINGLE = re.compile(r"^(?P<owner>.*\.experts)\.(?P<expert>\d+)\.(?P<part>\w+)$")
_GATES, _UPS, _DOWNS = ("gate_proj", "w1"), ("up_proj", "w3"), ("down_proj", "w2")
_STACKS = ("gate_up_proj", "up_proj", "down_proj")
_RENAMED = ("block_sparse_moe", "mlp")
"""What files and loaded models call the part of a layer that holds numbered experts."""

StackShape = tuple[int, int, int]
"""Experts, outputs, inputs."""


def iter_stacks(
    grouped: Mapping[str, Sequence[TensorEntry]],
) -> Iterator[tuple[str, StackShape, TensorEntry]]:
    """Yield each stack by its name in the loaded model, its shape, and a tensor that it holds.

    ``grouped`` are the tensors of a model by the module that owns them. Loading joins the experts
    of a layer into one tensor per projection, gate and up projection into one.
    """
    single: dict[str, dict[tuple[int, str], TensorEntry]] = {}
    for name, entries in grouped.items():
        if match := _SINGLE.match(name):
            weight = next((e for e in entries if e.name.endswith("weight")), None)
            if weight is not None and len(weight.shape) == 2:
                parts = single.setdefault(match["owner"], {})
                parts[int(match["expert"]), match["part"]] = weight
        elif name.endswith(".experts"):
            yield from _iter_stored(name, entries)
    for owner, parts in single.items():
        yield from _iter_joined(owner.replace(*_RENAMED), parts)


def _iter_stored(
    owner: str, entries: Sequence[TensorEntry]
) -> Iterator[tuple[str, StackShape, TensorEntry]]:
    for entry in entries:
        last = entry.name.rpartition(".")[2]
        if last in _STACKS and len(entry.shape) == 3:
            experts, first, second = entry.shape
            yield f"{owner}.{last}", (experts, first, second), entry


def _iter_joined(
    owner: str, parts: Mapping[tuple[int, str], TensorEntry]
) -> Iterator[tuple[str, StackShape, TensorEntry]]:
    experts = 1 + max(number for number, _ in parts)
    first = {part: entry for (_, part), entry in sorted(parts.items(), reverse=True)}
    gate = next((first[part] for part in _GATES if part in first), None)
    up = next((first[part] for part in _UPS if part in first), None)
    down = next((first[part] for part in _DOWNS if part in first), None)
    if up is not None:
        outputs = up.shape[0] + (gate.shape[0] if gate else 0)
        name = "gate_up_proj" if gate else "up_proj"
        yield f"{owner}.{name}", (experts, outputs, up.shape[1]), up
    if down is not None:
        yield f"{owner}.down_proj", (experts, down.shape[0], down.shape[1]), down
