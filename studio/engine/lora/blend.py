"""Mixes adapters of one base into a new adapter: exactly, to a chosen rank, by TIES or DARE."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from studio.core.errors import AdapterUnusable, RecipeInvalid
from studio.core.weights.gains import LayerGain, get_gain
from studio.engine.lora.stored import StoredAdapter, StoredModule

Method = Literal["linear", "svd", "ties", "dare"]
_MORE_DIRECTIONS = 8
_FULL_UP_TO = 6
_SWEEPS = 4
"""Beside the wanted directions; up to this many times as wide, all are computed; repetitions."""


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
    could not hold, ``size`` that of the whole update. ``values`` are its singular values, the
    largest first, as many as are known; none for an exact mix.
    """

    lora_a: Tensor
    lora_b: Tensor
    is_lookup: bool
    lost: float
    size: float
    kernel: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    def compute_lost(self, rank: int) -> float:
        """Returns the size of what a rank up to the count of ``values`` could not hold."""
        held = sum(value * value for value in self.values[:rank])
        return math.sqrt(max(0.0, self.size * self.size - held))


class Part(NamedTuple):
    """One adapter's update of a layer, how strongly it counts, and a name for its place."""

    module: StoredModule
    weight: float
    key: str


class Cut(NamedTuple):
    """A product ``B A`` of a chosen rank, the sizes lost and whole, singular values if known."""

    lora_a: Tensor
    lora_b: Tensor
    lost: float
    size: float
    values: tuple[float, ...]


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
    if stored.seen.keeps_zeros:
        return "leaves the zeros of its pruned base alone, which its matrices do not show"
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
    every = gains or [()] * len(adapters)
    for name in sorted({name for stored in adapters for name in stored.modules}):
        parts = [
            Part(stored.modules[name], weight * get_gain(own, name), f"{place}:{name}")
            for place, (stored, weight, own) in enumerate(
                zip(adapters, weights, every, strict=True)
            )
            if name in stored.modules
        ]
        parts = [part for part in parts if part.weight]
        if parts:
            yield name, _blend(parts, mix)


def compute_error_fraction(modules: Iterable[BlendedModule], rank: int | None = None) -> float:
    """Returns the size of what the mix lost, relative to all of it; with a smaller ``rank``."""
    found = list(modules)
    size = math.hypot(*(module.size for module in found))
    lost = math.hypot(
        *(module.lost if rank is None else module.compute_lost(rank) for module in found)
    )
    return lost / size if size else 0.0


def truncate_matrix(delta: Tensor, rank: int) -> Cut:
    """Returns the closest product of the given rank for a whole update ``(out, in)``.

    Large updates are searched for their strongest directions only, by subspace iteration: what is
    found is at most slightly smaller than the best, and the loss that is told is the real one.

    Source: Halko, Martinsson and Tropp 2011, "Finding structure with randomness", algorithm 4.4.
    """
    wanted = rank + _MORE_DIRECTIONS
    if min(delta.shape) <= _FULL_UP_TO * wanted:
        left, values, right = torch.linalg.svd(delta.double(), full_matrices=False)
        return _cut(left, values, right, rank)
    generator = torch.Generator().manual_seed(0)
    basis = delta @ torch.randn(delta.shape[1], wanted, generator=generator)
    for _ in range(_SWEEPS):
        basis = torch.linalg.qr(basis)[0]
        basis = delta @ torch.linalg.qr(delta.t() @ basis)[0]
    basis = torch.linalg.qr(basis)[0]
    left, values, right = torch.linalg.svd((basis.t() @ delta).double(), full_matrices=False)
    size = float(torch.linalg.vector_norm(delta.double()))
    return _cut(basis.double() @ left, values, right, rank, size)


def truncate(lora_a: Tensor, lora_b: Tensor, rank: int) -> Cut:
    """Returns the closest product of the given rank.

    The product itself is never formed: its singular values are those of a small square matrix.

    Source: Eckart and Young 1936, "The approximation of one matrix by another of lower rank".
    """
    outer_b, inner_b = torch.linalg.qr(lora_b.double())
    outer_a, inner_a = torch.linalg.qr(lora_a.double().t())
    left, values, right = torch.linalg.svd(inner_b @ inner_a.t(), full_matrices=False)
    return _cut(outer_b @ left, values, right @ outer_a.t(), rank)


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


def _blend(parts: Sequence[Part], mix: Mix) -> BlendedModule:
    total_rank = sum(part.module.rank for part in parts)
    lora_a, lora_b = _join(parts)
    is_lookup, kernel = parts[0].module.is_lookup, parts[0].module.kernel
    if mix.method == "linear":
        size = float(torch.linalg.matrix_norm(_shrink(lora_a, lora_b)))
        return BlendedModule(lora_a, lora_b, is_lookup, 0.0, size, kernel)
    rank = min(mix.rank or total_rank, *lora_a.shape[1:], lora_b.shape[0])
    if mix.method == "svd":
        cut = truncate(lora_a, lora_b, min(rank, total_rank))
    else:
        cut = truncate_matrix(_merge(parts, mix), rank)
    return BlendedModule(cut.lora_a, cut.lora_b, is_lookup, cut.lost, cut.size, kernel, cut.values)


def _merge(parts: Sequence[Part], mix: Mix) -> Tensor:
    deltas = [part.module.lora_b @ part.module.lora_a * part.module.scaling for part in parts]
    weights = [part.weight for part in parts]
    if mix.method == "ties":
        # an adapter without this layer changes nothing there, and so agrees with no sign
        return merge_ties(deltas, weights, mix.density)
    merged = torch.zeros_like(deltas[0])
    for part, delta in zip(parts, deltas, strict=True):
        # what is dropped depends on nothing that a fader changes
        seed = mix.seed + zlib.crc32(part.key.encode())
        dropped = drop_and_rescale(delta, mix.density, torch.Generator().manual_seed(seed))
        merged.add_(dropped, alpha=part.weight)
    return merged


def _join(parts: Sequence[Part]) -> tuple[Tensor, Tensor]:
    """Returns A and B of the weighted sum, exactly: the adapters' matrices beside each other."""
    lora_a = torch.cat([part.module.lora_a for part in parts])
    lora_b = torch.cat(
        [part.module.lora_b * (part.module.scaling * part.weight) for part in parts], dim=1
    )
    return lora_a, lora_b


def _shrink(lora_a: Tensor, lora_b: Tensor) -> Tensor:
    """Returns a small square matrix with the singular values of ``B A``."""
    inner_b: Tensor = torch.linalg.qr(lora_b.double(), mode="r")[1]
    inner_a: Tensor = torch.linalg.qr(lora_a.double().t(), mode="r")[1]
    return inner_b @ inner_a.t()


def _cut(left: Tensor, values: Tensor, right: Tensor, rank: int, size: float | None = None) -> Cut:
    """Returns the strongest directions; ``size`` is that of everything, if not all are there."""
    roots = values[:rank].sqrt()
    lora_a = (roots.unsqueeze(1) * right[:rank]).float().contiguous()
    lora_b = (left[:, :rank] * roots).float().contiguous()
    missing = rank - len(roots)
    if missing > 0:
        lora_a = torch.cat((lora_a, lora_a.new_zeros(missing, lora_a.shape[1])))
        lora_b = torch.cat((lora_b, lora_b.new_zeros(lora_b.shape[0], missing)), dim=1)
    known = tuple(values.tolist())
    if size is None:
        lost, size = (float(torch.linalg.vector_norm(part)) for part in (values[rank:], values))
        return Cut(lora_a, lora_b, lost, size, known)
    held = float(values[:rank].square().sum())
    return Cut(lora_a, lora_b, math.sqrt(max(0.0, size * size - held)), size, known[:rank])


def _keep_largest(delta: Tensor, density: float) -> Tensor:
    count = max(1, int(density * delta.numel()))
    sizes = delta.abs().flatten()
    limit = sizes.kthvalue(len(sizes) - count + 1).values
    kept = torch.where(sizes >= limit, delta.flatten(), 0.0)
    more = int((sizes >= limit).sum()) - count
    if more > 0:  # of equal numbers at the limit the first ones stay
        kept[(sizes == limit).nonzero().flatten()[-more:]] = 0.0
    return kept.view_as(delta)
