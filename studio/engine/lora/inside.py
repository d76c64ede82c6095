"""The updates of an adapter by size, directions and likeness, never as whole matrices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from studio.core.weights.matching import split_layer
from studio.engine.lora.stored import StoredAdapter, StoredModule


@dataclass(frozen=True)
class Ranks:
    """How many directions an update uses, from 1 to its rank; 0 if it is zero.

    ``effective`` counts all directions by their share (exp of the entropy of the singular values);
    ``stable`` counts only strong ones (sum of their squares over the largest square).
    """

    effective: float
    stable: float


def compute_norm(module: StoredModule) -> float:
    """Returns the Frobenius norm of the update ``s B A``, from small square matrices."""
    return math.sqrt(max(0.0, multiply(module, module)))


def multiply(one: StoredModule, other: StoredModule) -> float:
    """Returns the sum of the products of all numbers of two updates of one layer.

    ``sum(B1 A1 * B2 A2) = trace((B1' B2) (A2 A1'))``: rank by rank instead of out by in. Stacked
    experts are layers of their own that are added up.
    """
    pairs = zip(_iter_experts(one), _iter_experts(other), strict=True)
    return sum(_multiply(mine, theirs) for mine, theirs in pairs)


def compute_ranks(module: StoredModule) -> Ranks:
    """Returns how many directions an update really uses; of stacked experts the average.

    Source: Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality";
    Rudelson and Vershynin 2007, "Sampling from large matrices" (stable rank).
    """
    found = [_count_directions(_compute_singular_values(part)) for part in _iter_experts(module)]
    used = [ranks for ranks in found if ranks.stable]
    if not used:
        return Ranks(0.0, 0.0)
    return Ranks(
        sum(ranks.effective for ranks in used) / len(used),
        sum(ranks.stable for ranks in used) / len(used),
    )


def compute_similarity(one: StoredAdapter, other: StoredAdapter) -> float:
    """Returns the cosine between two adapters' updates, -1 to 1, over all layers together."""
    products = _multiply_layers(one, other)
    return _compute_cosine(*(sum(column) for column in zip(*products.values(), strict=True)))


def compute_layer_similarities(one: StoredAdapter, other: StoredAdapter) -> dict[int | None, float]:
    """Returns the cosine by the number of the layer; None stands for what is outside layers.

    Only layers that at least one of both changes are named.
    """
    products = _multiply_layers(one, other)
    order = sorted(products, key=lambda layer: (layer is None, layer or 0))
    return {layer: _compute_cosine(*products[layer]) for layer in order}


def _multiply_layers(
    one: StoredAdapter, other: StoredAdapter
) -> dict[int | None, tuple[float, float, float]]:
    """Returns by layer: product of both updates, and the squares of the one and the other."""
    found: dict[int | None, tuple[float, float, float]] = {}
    for name in sorted(one.modules.keys() | other.modules.keys()):
        mine, theirs = one.modules.get(name), other.modules.get(name)
        own = 0.0 if mine is None else multiply(mine, mine)
        foreign = 0.0 if theirs is None else multiply(theirs, theirs)
        product = 0.0
        if mine is not None and theirs is not None and _has_same_shape(mine, theirs):
            product = multiply(mine, theirs)
        layer = split_layer(name)[0]
        before = found.get(layer, (0.0, 0.0, 0.0))
        found[layer] = (before[0] + product, before[1] + own, before[2] + foreign)
    return found


def _has_same_shape(one: StoredModule, other: StoredModule) -> bool:
    return (
        one.lora_a.shape[1] == other.lora_a.shape[1]
        and one.lora_b.shape[0] == other.lora_b.shape[0]
        and _count_experts(one) == _count_experts(other)
    )


def _compute_cosine(product: float = 0.0, own: float = 0.0, foreign: float = 0.0) -> float:
    length = math.sqrt(own * foreign)
    return max(-1.0, min(1.0, product / length)) if length else 0.0


def _multiply(one: StoredModule, other: StoredModule) -> float:
    outer = one.lora_b.double().t() @ other.lora_b.double()
    inner = one.lora_a.double() @ other.lora_a.double().t()
    return float((outer * inner).sum()) * one.scaling * other.scaling


def _count_experts(module: StoredModule) -> int:
    return max(1, module.lora_a.shape[0] // module.rank)


def _iter_experts(module: StoredModule) -> Iterator[StoredModule]:
    """Yields the update itself, or those of single experts: A expert by expert, B rank by rank."""
    experts, rank = _count_experts(module), module.rank
    if experts == 1:
        yield module
        return
    for expert in range(experts):
        yield replace(
            module,
            lora_a=module.lora_a[expert * rank : (expert + 1) * rank],
            lora_b=module.lora_b[:, expert::experts],
        )


def _count_directions(values: Tensor) -> Ranks:
    values = values[values > 0]
    if not len(values):
        return Ranks(0.0, 0.0)
    shares = values / values.sum()
    effective = float(torch.exp(-(shares * shares.log()).sum()))
    return Ranks(effective, float((values / values.max()).square().sum()))


def _compute_singular_values(module: StoredModule) -> Tensor:
    inner_b: Tensor = torch.linalg.qr(module.lora_b.double(), mode="r")[1]
    inner_a: Tensor = torch.linalg.qr(module.lora_a.double().t(), mode="r")[1]
    values: Tensor = torch.linalg.svdvals(inner_b @ inner_a.t())
    return values
