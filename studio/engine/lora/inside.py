"""The updates of an adapter by size, directions and likeness, never as whole matrices."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from studio.engine.lora.stored import StoredAdapter, StoredModule


def compute_norm(module: StoredModule) -> float:
    """Returns the Frobenius norm of the update ``s B A``, from two small square matrices."""
    return math.sqrt(max(0.0, multiply(module, module)))


def multiply(one: StoredModule, other: StoredModule) -> float:
    """Returns the sum of the products of all numbers of two updates of one layer.

    ``sum(B1 A1 * B2 A2) = trace((B1' B2) (A2 A1'))``: rank by rank instead of out by in.
    """
    outer = one.lora_b.double().t() @ other.lora_b.double()
    inner = one.lora_a.double() @ other.lora_a.double().t()
    return float((outer * inner).sum()) * one.scaling * other.scaling


def compute_effective_rank(module: StoredModule) -> float:
    """Returns how many directions an update really uses, from 1 to its rank; 0 if it is zero.

    Source: Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality".
    """
    values = _compute_singular_values(module.lora_a, module.lora_b)
    total = values.sum()
    if not total:
        return 0.0
    shares = values[values > 0] / total
    return float(torch.exp(-(shares * shares.log()).sum()))


def compute_similarity(one: StoredAdapter, other: StoredAdapter) -> float:
    """Returns the cosine between two adapters' updates, -1 to 1, over all layers together."""
    shared = one.modules.keys() & other.modules.keys()
    product = sum(
        multiply(one.modules[name], other.modules[name])
        for name in shared
        if one.modules[name].lora_a.shape[1] == other.modules[name].lora_a.shape[1]
        and one.modules[name].lora_b.shape[0] == other.modules[name].lora_b.shape[0]
    )
    sizes = [sum(multiply(part, part) for part in each.modules.values()) for each in (one, other)]
    length = (sizes[0] * sizes[1]) ** 0.5
    return max(-1.0, min(1.0, product / length)) if length else 0.0


def _compute_singular_values(lora_a: Tensor, lora_b: Tensor) -> Tensor:
    inner_b: Tensor = torch.linalg.qr(lora_b.double(), mode="r")[1]
    inner_a: Tensor = torch.linalg.qr(lora_a.double().t(), mode="r")[1]
    values: Tensor = torch.linalg.svdvals(inner_b @ inner_a.t())
    return values
