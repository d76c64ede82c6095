"""Tells at the start of a training what becomes of the zeros of a pruned base."""

from __future__ import annotations

from collections.abc import Iterator

from studio.core.events.types import NoticeRaised
from studio.core.units import format_percent
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.linear import AdaptedLinear
from studio.engine.quant.none import PlainLinear

_PRUNED_FRACTION = 0.1
"""Weights are exactly zero by chance far more rarely."""


def tell_zeros(adapter: Adapter) -> Iterator[NoticeRaised]:
    """Yields that the zeros of the base stay, that there are none, or that they will be filled."""
    modules = [one for one in adapter.modules.values() if isinstance(one, AdaptedLinear)]
    if adapter.seen.keeps_zeros:
        yield _describe([one for one in modules if one.keeps_zeros], len(modules))
    elif modules and _count_zeros(modules[:1]) >= _PRUNED_FRACTION:
        yield NoticeRaised(
            code="base_is_pruned",
            message=f"In this base {format_percent(_count_zeros(modules[:1]))} of the weights are "
            "zero (looked at in the first adapted layer). The adapter changes them too: the merged "
            "model will not be sparse, and merging around the zeros would lose much of what was "
            "learnt.",
            remedy="To stay sparse without that loss, set adapter.keep_zeros.",
        )


def _describe(kept: list[AdaptedLinear], count: int) -> NoticeRaised:
    if not kept:
        return NoticeRaised(
            severity="warning",
            code="no_zeros",
            message="adapter.keep_zeros has no effect: none of the adapted layers of this base has "
            "weights that are zero.",
            remedy="Choose the pruned base (lora-studio prune), or turn the setting off.",
        )
    return NoticeRaised(
        code="zeros_kept",
        message=f"The zeros of the base stay zero in {len(kept)} of {count} adapted layers "
        f"({format_percent(_count_zeros(kept))} of their weights): the adapter learns to do "
        "without them.",
    )


def _count_zeros(modules: list[AdaptedLinear]) -> float:
    """Returns the share of the weights that are zero; 0 where they are held in few bits."""
    zeros = weights = 0
    for module in modules:
        if isinstance(module.frozen, PlainLinear):
            found = module.frozen.find_zeros()
            zeros += int(found.sum())
            weights += found.numel()
    return zeros / max(1, weights)
