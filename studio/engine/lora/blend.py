"""Mixes adapters of one base into a new adapter: exactly, to a chosen rank, by TIES or DARE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from studio.core.errors import AdapterUnusable, RecipeInvalid
from studio.core.weights.gains import LayerGain, get_gain
from studio.engine.lora.stored import StoredAdapter, StoredModule

Method = Literal["linear", "svd", "ties", "dare"]


@dataclass(frozen=True)
class Mix:
    """How adapters are mixed.

    ``rank`` None means the sum of the ranks. ``density`` is the share of the numbers of each
    update that TIES and DARE keep; ``seed`` decides which ones DARE drops.
    """

    method: Method = "linear"
    rank: int | None = None
    density: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class BlendedModule:
    """The new update ``B A`` of one layer: A ``(rank, in)``, B ``(out, rank)``, in fp32.

    ``kernel`` is that of a convolution. ``lost`` is the size (Frobenius norm) of what the rank
    could not hold, ``size`` that of the whole update.
    """

    lora_a: Tensor
    lora_b: Tensor
    is_lookup: bool
    lost: float
    size: float
    kernel: tuple[int, ...] = ()


def check_blendable(adapters: Sequence[StoredAdapter]) -> None:
    """Returns quietly when all adapters are low-rank updates of layers of the same shapes.

    Raises:
        AdapterUnusable: One is something else, or two were made for different models.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for stored in adapters:
        rest = _find_obstacle(stored)
        if rest:
            raise AdapterUnusable(
                f"The adapter in {stored.folder} {rest}; such adapters cannot be mixed.",
                "Choose adapters that train low-rank updates alone (the forms plain and rslora).",
            )
        for name, module in stored.modules.items():
            shape = (module.lora_b.shape[0], module.lora_a.shape[1], *module.kernel)
            if shapes.setdefault(name, shape) != shape:
                raise AdapterUnusable(
                    f"The adapter in {stored.folder} was made for another model than the others: "
                    f"{name} is {shape[1]} wide in and {shape[0]} out, not {shapes[name][1]} and "
                    f"{shapes[name][0]}.",
                    "Choose adapters of the same base model.",
                )


def _find_obstacle(stored: StoredAdapter) -> str:
    """Returns what an adapter changes besides low-rank updates, in words; empty for nothing."""
    whole = sorted(name for name in stored.weights if stored.is_trained(name))
    stacks = [name for name, one in stored.modules.items() if one.rank != one.lora_a.shape[0]]
    if stored.seen.has_residual:
        return "also makes up for what quantisation took from its base (LoftQ), all or nothing"
    if stored.config.use_dora:
        return "learns the lengths of the weights (DoRA), whose update depends on the base"
    if whole:
        return f"trains {whole[0]} in full"
    if stored.tokens:
        return f"trains single tokens of {next(iter(stored.tokens))}"
    return f"changes the stacked experts {stacks[0]}" if stacks else ""


@torch.no_grad()
def iter_blended(
    adapters: Sequence[StoredAdapter],
    weights: Sequence[float],
    mix: Mix,
    gains: Sequence[Sequence[LayerGain]] = (),
) -> Iterator[tuple[str, BlendedModule]]:
    """Yields each layer that any of the adapters changes, by name, with its new update.

    ``gains`` are factors of each adapter in some layers. What counts nothing is left out.

    Raises:
        AdapterUnusable: The adapters cannot be mixed.
        RecipeInvalid: A rank is wished for the exact mix, whose rank is the sum.
    """
    check_blendable(adapters)
    if mix.method == "linear" and mix.rank is not None:
        raise RecipeInvalid(
            "The method linear keeps everything, so that its rank is the sum of the ranks.",
            "Leave the rank out, or choose the method svd.",
        )
    generator = torch.Generator().manual_seed(mix.seed)
    every = gains or [()] * len(adapters)
    for name in sorted({name for stored in adapters for name in stored.modules}):
        parts = [
            (stored.modules[name], weight * get_gain(own, name))
            for stored, weight, own in zip(adapters, weights, every, strict=True)
            if name in stored.modules
        ]
        parts = [part for part in parts if part[1]]
        if parts:
            yield name, _blend(parts, mix, generator)


def truncate(lora_a: Tensor, lora_b: Tensor, rank: int) -> tuple[Tensor, Tensor, float, float]:
    """Returns the closest product of the given rank, as A and B, and the sizes lost and whole.

    The product itself is never formed: its singular values are those of a small square matrix.

    Source: Eckart and Young 1936, "The approximation of one matrix by another of lower rank".
    """
    outer_b, inner_b = torch.linalg.qr(lora_b.double())
    outer_a, inner_a = torch.linalg.qr(lora_a.double().t())
    left, values, right = torch.linalg.svd(inner_b @ inner_a.t(), full_matrices=False)
    return _cut(outer_b @ left, values, right @ outer_a.t(), rank)


def truncate_matrix(delta: Tensor, rank: int) -> tuple[Tensor, Tensor, float, float]:
    """Returns the closest product of the given rank for a whole update ``(out, in)``."""
    left, values, right = torch.linalg.svd(delta.double(), full_matrices=False)
    return _cut(left, values, right, rank)


def merge_ties(deltas: Sequence[Tensor], weights: Sequence[float], density: float) -> Tensor:
    """Returns updates of one shape joined: small numbers dropped, signs agreed on, the rest added.

    Of each update the ``density`` largest numbers stay. Each place takes the sign of their sum,
    and of the updates with that sign the weighted sum, divided by the number of updates that have
    it.

    Source: Yadav et al. 2023 (arXiv 2306.01708), algorithm 1.
    """
    kept = torch.stack([_keep_largest(delta, density) for delta in deltas])
    agrees = (kept.sign() == kept.sum(dim=0).sign()) & (kept != 0)
    factors = torch.tensor(list(weights)).view(-1, *[1] * (kept.ndim - 1))
    return (kept * factors * agrees).sum(dim=0) / agrees.sum(dim=0).clamp_min(1)


def drop_and_rescale(delta: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """Returns the update with random numbers set to 0 and the others divided by ``density``.

    Source: Yu et al. 2023 (arXiv 2311.03099), section 3.1.
    """
    keeps = torch.rand(delta.shape, generator=generator) < density
    return torch.where(keeps, delta / density, torch.zeros_like(delta))


def _blend(
    parts: Sequence[tuple[StoredModule, float]], mix: Mix, generator: torch.Generator
) -> BlendedModule:
    total_rank = sum(module.rank for module, _ in parts)
    lora_a, lora_b = _join(parts)
    is_lookup, kernel = parts[0][0].is_lookup, parts[0][0].kernel
    if mix.method == "linear":
        size = float(torch.linalg.matrix_norm(_shrink(lora_a, lora_b)))
        return BlendedModule(lora_a, lora_b, is_lookup, 0.0, size, kernel)
    rank = min(mix.rank or total_rank, *lora_a.shape[1:], lora_b.shape[0])
    if mix.method == "svd":
        found = truncate(lora_a, lora_b, min(rank, total_rank))
    else:
        found = truncate_matrix(_merge(parts, mix, generator), rank)
    return BlendedModule(found[0], found[1], is_lookup, found[2], found[3], kernel)


def _merge(
    parts: Sequence[tuple[StoredModule, float]], mix: Mix, generator: torch.Generator
) -> Tensor:
    deltas = [module.lora_b @ module.lora_a * module.scaling for module, _ in parts]
    weights = [weight for _, weight in parts]
    if mix.method == "ties":
        # an adapter without this layer changes nothing there, and so agrees with no sign
        return merge_ties(deltas, weights, mix.density)
    dropped = [drop_and_rescale(delta, mix.density, generator) for delta in deltas]
    return torch.stack([w * d for w, d in zip(weights, dropped, strict=True)]).sum(dim=0)


def _join(parts: Sequence[tuple[StoredModule, float]]) -> tuple[Tensor, Tensor]:
    """Returns A and B of the weighted sum, exactly: the adapters' matrices beside each other."""
    lora_a = torch.cat([module.lora_a for module, _ in parts])
    lora_b = torch.cat([module.lora_b * (module.scaling * w) for module, w in parts], dim=1)
    return lora_a, lora_b


def _shrink(lora_a: Tensor, lora_b: Tensor) -> Tensor:
    """Returns a small square matrix with the singular values of ``B A``."""
    inner_b: Tensor = torch.linalg.qr(lora_b.double(), mode="r")[1]
    inner_a: Tensor = torch.linalg.qr(lora_a.double().t(), mode="r")[1]
    return inner_b @ inner_a.t()


def _cut(
    left: Tensor, values: Tensor, right: Tensor, rank: int
) -> tuple[Tensor, Tensor, float, float]:
    roots = values[:rank].sqrt()
    lora_a = (roots.unsqueeze(1) * right[:rank]).float().contiguous()
    lora_b = (left[:, :rank] * roots).float().contiguous()
    missing = rank - len(roots)
    if missing > 0:
        lora_a = torch.cat((lora_a, lora_a.new_zeros(missing, lora_a.shape[1])))
        lora_b = torch.cat((lora_b, lora_b.new_zeros(lora_b.shape[0], missing)), dim=1)
    lost, size = (float(torch.linalg.vector_norm(part)) for part in (values[rank:], values))
    return lora_a, lora_b, lost, size


def _keep_largest(delta: Tensor, density: float) -> Tensor:
    count = max(1, int(density * delta.numel()))
    places = delta.abs().flatten().topk(count).indices
    kept = torch.zeros_like(delta).flatten()
    kept[places] = delta.flatten()[places]
    return kept.view_as(delta)
