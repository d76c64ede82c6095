"""Rank-stabilised LoRA: the update is multiplied by alpha / sqrt(rank)."""

from __future__ import annotations

import math

HAS_MAGNITUDE = False


def get_scaling(rank: int, alpha: float) -> float:
    """Returns alpha / sqrt(rank), which keeps the size of the update independent of the rank.

    Source: Kalajdzievski 2023 (arXiv 2312.03732), theorem 3.2.
    """
    return alpha / math.sqrt(rank)
