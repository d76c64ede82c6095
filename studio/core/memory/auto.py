"""What ``auto`` means for memory: the rules that training follows and that forecasts foresee."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from studio.core.memory.recomputing import Checkpointing, Recomputing, choose_recomputing

SHARE_OF_FREE_MEMORY = 0.5
MOST_SPARED_SHARE = 0.75
"""Above this share of supervised rows, picking them costs the last layer more than it saves."""
MOST_BASE_SHARE = 0.7
"""A base that takes more of the free memory of a card leaves no room to train."""
MOST_COPIES_SHARE = 0.2
"""Copies of the trained numbers to go back to may take this share of the computer's free memory."""
COPIES = 2
MOST_TOKENS: Mapping[str, int] = {"cpu": 4096, "cuda": 16384}


@dataclass(frozen=True)
class RoughSize:
    """Widths of a model, in numbers; ``query`` and ``key`` of all heads together.

    ``inner`` is the width between the feed-forward matrices, of all experts of a token together.

    Twice the closed formula for one copy of each layer's inputs: model code of other people keeps
    about that much.
    """

    layers: int
    width: int
    query: int
    key: int
    inner: int
    number_bytes: int

    def count_bytes(self, checkpointing: str = "none") -> int:
        """Return roughly what one token keeps for the backward pass, all layers together."""
        numbers = 2 * (2 * self.width + 2 * self.query + 2 * self.key)
        if checkpointing != "mlp":
            numbers += 4 * self.inner
        size = self.layers * numbers * self.number_bytes
        # one input per layer and one layer at a time
        return size // 8 if checkpointing == "all" else size

    def count_mixed_bytes(self, recomputing: Recomputing) -> int:
        """Return the same where the layers recompute different parts."""
        return round(
            sum(share * self.count_bytes(mode) for mode, share in recomputing.shares.items())
        )


def get_room(free_bytes: int) -> int:
    """Return the part of the free memory that automatic settings may plan with."""
    return max(0, math.floor(free_bytes * SHARE_OF_FREE_MEMORY))


def is_too_large(base_bytes: int, free_bytes: int) -> bool:
    """Return whether a base takes so much of a card that no room is left to train."""
    return base_bytes > MOST_BASE_SHARE * free_bytes


def can_keep_copies(trained_bytes: int, free_bytes: int) -> bool:
    """Return whether a run keeps earlier states in the computer's memory, to go back to.

    ``trained_bytes`` are the trained numbers; optimizers keep two numbers for each at most.
    """
    return COPIES * 3 * trained_bytes <= MOST_COPIES_SHARE * free_bytes


def choose_checkpointing(
    size: RoughSize, longest: int, free_bytes: int, *, has_mlps: bool
) -> Recomputing:
    """Return what each layer recomputes: the least with which the longest example finds room.

    ``has_mlps``: the inner part of the layers can be recomputed by itself.
    """
    modes: tuple[Checkpointing, ...] = ("none", "mlp", "all") if has_mlps else ("none", "all")
    inner = 3 * size.width * size.inner
    whole = inner + 2 * size.width * (size.query + size.key)
    return choose_recomputing(
        size.layers,
        {mode: size.count_bytes(mode) * longest // max(1, size.layers) for mode in modes},
        {"none": 0, "mlp": inner, "all": whole},
        get_room(free_bytes),
    )


def choose_micro_batch_tokens(
    size: RoughSize, longest: int, free_bytes: int, *, recomputing: Recomputing, device: str
) -> int:
    """Return how many packed tokens are computed at once; at least the longest example."""
    per_token = max(1, size.count_mixed_bytes(recomputing))
    most = MOST_TOKENS.get(device, MOST_TOKENS["cpu"])
    return max(longest, min(most, get_room(free_bytes) // per_token))
