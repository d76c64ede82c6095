"""LoRA as published: the update is multiplied by alpha / rank."""

from __future__ import annotations

HAS_MAGNITUDE = False


def get_scaling(rank: int, alpha: float) -> float:
    """Returns alpha / rank.

    Source: Hu et al. 2021 (arXiv 2106.09685), section 4.1.
    """
    return alpha / rank
