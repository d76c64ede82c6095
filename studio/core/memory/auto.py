"""What ``auto`` means for memory: the rules that training follows and that forecasts foresee."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Checkpointing = Literal["none", "mlp", "all"]

SHARE_OF_FREE_MEMORY = 0.5
MOST_SPARED_SHARE = 0.75
"""Above this share of supervised rows, picking them costs the last layer more than it saves."""
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


def get_room(free_bytes: int) -> int:
    """Return the part of the free memory that automatic settings may plan with."""
    return max(0, math.floor(free_bytes * SHARE_OF_FREE_MEMORY))


def choose_checkpointing(
    size: RoughSize, longest: int, free_bytes: int, *, has_mlps: bool
) -> Checkpointing:
    """Return what is recomputed: the least with which the longest example finds room.

    ``has_mlps``: the inner part of the layers can be recomputed by itself.
    """
    room = get_room(free_bytes)
    if size.count_bytes() * longest <= room:
        return "none"
    if has_mlps and size.count_bytes("mlp") * longest <= room:
        return "mlp"
    return "all"


def choose_micro_batch_tokens(
    size: RoughSize, longest: int, free_bytes: int, *, checkpointing: str, device: str
) -> int:
    """Return how many packed tokens are computed at once; at least the longest example."""
    per_token = max(1, size.count_bytes(checkpointing))
    most = MOST_TOKENS.get(device, MOST_TOKENS["cpu"])
    return max(longest, min(most, get_room(free_bytes) // per_token))
