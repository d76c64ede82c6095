"""How much of a model is recomputed in the backward pass: the least that makes it fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Checkpointing = Literal["none", "mlp", "all", "offload"]


@dataclass(frozen=True)
class Recomputing:
    """How many layers recompute everything, how many their inner part, how many nothing.

    Those that recompute more lie lower: when it is their turn in the backward pass, what the
    layers above them kept is free already.
    """

    none: int = 0
    mlp: int = 0
    all: int = 0

    @classmethod
    def uniform(cls, mode: Checkpointing, layers: int) -> Recomputing:
        """Return the same for all layers; to offload is to recompute nothing."""
        return cls(**{"none" if mode == "offload" else mode: layers})

    @property
    def layers(self) -> int:
        """All layers together."""
        return self.none + self.mlp + self.all

    @property
    def modes(self) -> tuple[Checkpointing, ...]:
        """What each layer recomputes, from the lowest to the highest."""
        counts: tuple[tuple[Checkpointing, int], ...]
        counts = (("all", self.all), ("mlp", self.mlp), ("none", self.none))
        return tuple(mode for mode, count in counts for _ in range(count))

    @property
    def strongest(self) -> Checkpointing:
        """The most that any layer recomputes."""
        return self.modes[0] if self.layers else "none"

    @property
    def is_uniform(self) -> bool:
        """Whether all layers recompute the same."""
        return len(set(self.modes)) <= 1

    @property
    def shares(self) -> Mapping[Checkpointing, float]:
        """The share of the layers in each mode that occurs."""
        modes = self.modes
        return {mode: modes.count(mode) / len(modes) for mode in dict.fromkeys(modes)}

    def __str__(self) -> str:
        if self.is_uniform:
            return self.strongest
        counts = {"all": self.all, "mlp": self.mlp}
        parts = ", ".join(f"{mode} in {count}" for mode, count in counts.items() if count)
        return f"{parts} of {self.layers} layers"


def choose_recomputing(
    layers: int,
    sizes: Mapping[Checkpointing, int],
    costs: Mapping[Checkpointing, int],
    room_bytes: int,
) -> Recomputing:
    """Return the cheapest choice whose layers together keep at most ``room_bytes``.

    A knapsack over like layers, solved exactly. Where nothing fits, all layers recompute all.

    Args:
        layers: How many layers there are.
        sizes: Bytes that one layer keeps in each mode that the model allows.
        costs: What one layer costs in each mode, in any unit.
        room_bytes: The room for all layers together.
    """
    best, best_cost = Recomputing(all=layers), float("inf")
    most_mlp = layers if "mlp" in sizes else 0
    for in_full in range(layers + 1):
        for inner in range(min(most_mlp, layers - in_full) + 1):
            rest = layers - in_full - inner
            size = in_full * sizes["all"] + rest * sizes["none"] + inner * sizes.get("mlp", 0)
            cost = in_full * costs["all"] + inner * costs.get("mlp", 0)
            if size <= room_bytes and cost < best_cost:
                best, best_cost = Recomputing(rest, inner, in_full), cost
                break  # more of the inner parts would only cost more
    return best
