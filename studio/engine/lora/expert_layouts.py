"""Adapters of single experts, as files for earlier model code hold them, for stacked experts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from studio.engine.lora.experts import ExpertStack
from studio.engine.lora.stored import StoredAdapter, StoredModule
from studio.engine.lora.variants import get_variant

_SINGLE = re.compile(r"^(?P<prefix>.*?\.\d+\.).*experts\.(?P<expert>\d+)\.(?P<part>\w+)$")
# The projections of one expert, by their names in model families, in the order of the stacks.
_PLACES = {
    "gate_proj": ("gate_up_proj", 0),
    "w1": ("gate_up_proj", 0),
    "up_proj": ("gate_up_proj", 1),
    "w3": ("gate_up_proj", 1),
    "down_proj": ("down_proj", 0),
    "w2": ("down_proj", 0),
}


def stack_experts(stored: StoredAdapter, adaptable: Mapping[str, nn.Module]) -> StoredAdapter:
    """Returns ``stored`` with the matrices of single experts joined where the model has stacks.

    The update stays exactly the same. Gate and up projection become one matrix. Where both have
    the same A, it keeps their rank; else its rank is the sum of theirs: each half of its outputs
    sees its own ranks only. Experts without an adapter get one of zeros. Modules that the model has
    by their own names are left as they are.
    """
    stacks = {name: m for name, m in adaptable.items() if isinstance(m, ExpertStack)}
    groups: dict[str, dict[tuple[int, int], StoredModule]] = {}
    rest: dict[str, StoredModule] = {}
    for name, module in stored.modules.items():
        place = None if name in adaptable else _find_place(name, stacks)
        if place is None:
            rest[name] = module
        else:
            stack, expert, part = place
            groups.setdefault(stack, {})[expert, part] = module
    joined = {
        name: _join(parts, stacks[name], stored.config.variant) for name, parts in groups.items()
    }
    return replace(stored, modules=rest | joined)


def _find_place(name: str, stacks: Mapping[str, ExpertStack]) -> tuple[str, int, int] | None:
    match = _SINGLE.match(name)
    if match is None or match["part"] not in _PLACES:
        return None
    wanted, part = _PLACES[match["part"]]
    for full_name, stack in stacks.items():
        is_plain = not stack.is_transposed and getattr(stack.owner, "is_concatenated", True)
        if full_name.startswith(match["prefix"]) and stack.name == wanted and is_plain:
            expert = int(match["expert"])
            return (full_name, expert, part) if expert < stack.sizes[0] else None
    return None


def _join(
    parts: Mapping[tuple[int, int], StoredModule], stack: ExpertStack, variant: str
) -> StoredModule:
    experts, out_features, in_features = stack.sizes
    halves = 2 if stack.name == "gate_up_proj" else 1
    ranks = [
        max((module.rank for (_, part), module in parts.items() if part == half), default=0)
        for half in range(halves)
    ]
    scaling = next(iter(parts.values())).scaling
    is_shared = halves == 2 and _have_same_inputs(parts)
    rank, height = ranks[0] if is_shared else sum(ranks), out_features // halves
    lora_a = torch.zeros(experts, rank, in_features)
    lora_b = torch.zeros(experts, out_features, rank)
    for (expert, part), module in parts.items():
        first = 0 if is_shared else sum(ranks[:part])
        rows = slice(first, first + module.rank)
        lora_a[expert, rows] = module.lora_a
        outputs = slice(part * height, (part + 1) * height)
        lora_b[expert, outputs, rows] = module.lora_b * (module.scaling / scaling)
    return StoredModule(
        lora_a.flatten(0, 1),
        lora_b.permute(1, 2, 0).flatten(1),
        None,
        is_lookup=False,
        rank=rank,
        alpha=scaling / get_variant(variant).get_scaling(rank, 1.0),
        scaling=scaling,
    )


def _have_same_inputs(parts: Mapping[tuple[int, int], StoredModule]) -> bool:
    """Returns whether gate and up projection of each expert see the input through the same A."""
    for (expert, part), module in parts.items():
        other = parts.get((expert, 1 - part))
        if other is None or not torch.equal(module.lora_a, other.lora_a):
            return False
    return True
