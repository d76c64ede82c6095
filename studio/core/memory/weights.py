"""Bytes of everything that stays while training: base, adapter and what the optimizer keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from studio.core.memory.anatomy import Anatomy
from studio.core.weights.matching import ChosenModule

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes per weight: 4 bits, one 8-bit scale per 64, one 32-bit scale per 256 of those.

Source: Dettmers et al. 2023 (QLoRA), section 3, double quantisation.
"""
_STATE_BYTES: Mapping[str, float] = {
    "adamw": 8.0,
    "adamw8bit": 2 * (1 + 4 / 256),
    "lion": 4.0,
}


def count_trainable(anatomy: Anatomy, chosen: Sequence[ChosenModule]) -> int:
    """Return the adapter's parameters: rank x (inputs + outputs) of each adapted module.

    A module of rank 0 is trained in full.
    """
    by_name = anatomy.layers.by_name
    return sum(
        item.rank * (by_name[item.name].in_features + by_name[item.name].out_features)
        if item.rank
        else by_name[item.name].parameters
        for item in chosen
    )


def count_base_bytes(anatomy: Anatomy, quantisation: str, number_bytes: int) -> int:
    """Return the size of the frozen weights as they are held while training."""
    parameters = anatomy.layers.parameters
    if quantisation == "none":
        return parameters * number_bytes
    weights, rows, _ = anatomy.quantisable_sizes
    packed_bytes = NF4_BYTES * weights if quantisation == "nf4" else weights + 4 * rows
    return math.ceil(packed_bytes) + (parameters - weights) * number_bytes


def count_buffer_bytes(anatomy: Anatomy, quantisation: str, number_bytes: int) -> int:
    """Return the room for the largest quantised matrix in full size."""
    if quantisation == "none":
        return 0
    return number_bytes * anatomy.quantisable_sizes[2]


def count_state_bytes(anatomy: Anatomy, chosen: Sequence[ChosenModule], optimizer: str) -> int:
    """Return what the optimizer remembers, in bytes."""
    if optimizer == "adafactor":  # one number per row and column of each matrix
        by_name = anatomy.layers.by_name
        return sum(
            4 * (2 * item.rank + by_name[item.name].in_features + by_name[item.name].out_features)
            for item in chosen
        )
    return math.ceil(_STATE_BYTES.get(optimizer, 8.0) * count_trainable(anatomy, chosen))
