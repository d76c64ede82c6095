"""Bytes of everything that stays while training: base, adapter and what the optimizer keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from studio.core.memory.anatomy import Anatomy
from studio.core.recipe.schema import AdapterSettings
from studio.core.weights.layers import count_chosen_parameters
from studio.core.weights.matching import ChosenModule, is_match

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes per weight: 4 bits, one 8-bit scale per 64, one 32-bit scale per 256 of those.

Source: Dettmers et al. 2023 (QLoRA), section 3, double quantisation.
"""
_CODE_BYTES = {"nf4": 0.5, "int8": 1.0}
_STATE_BYTES: Mapping[str, float] = {
    "adamw": 8.0,
    "adamw8bit": 2 * (1 + 4 / 256),
    "adamw_paged": 8.0,
    "lion": 4.0,
    "muon": 4.0,
    "schedule_free": 8.0,
}


def count_trainable(
    anatomy: Anatomy, settings: AdapterSettings, chosen: Sequence[ChosenModule]
) -> int:
    """Return how many numbers are trained: the adapter, modules in full and single tokens."""
    trained = count_chosen_parameters(anatomy.layers, settings, chosen)
    tables = 1 if anatomy.layers.is_tied else 2  # a head of its own writes what the table reads
    trained += tables * len(settings.trained_tokens) * anatomy.width
    return trained + sum(
        module.parameters
        for module in anatomy.layers.modules
        if settings.extra_modules and _is_inside(module.name, settings.extra_modules)
    )


def _is_inside(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a pattern means the module ``name`` or one that it is a part of."""
    parts = name.split(".")
    wholes = [".".join(parts[: count + 1]) for count in range(len(parts))]
    return any(is_match(pattern, whole) for pattern in patterns for whole in wholes)


def count_base_bytes(anatomy: Anatomy, quantisation: str, number_bytes: int) -> int:
    """Return the size of the frozen weights as they are held while training."""
    parameters = anatomy.layers.parameters
    if anatomy.layers.stored != "none":
        packed = [module for module in anatomy.layers.modules if module.is_packed]
        plain = parameters - sum(module.parameters for module in packed)
        return sum(module.size_bytes for module in packed) + plain * number_bytes
    if quantisation == "none":
        return parameters * number_bytes
    weights, rows, _ = anatomy.quantisable_sizes
    packed_bytes = NF4_BYTES * weights if quantisation == "nf4" else weights + 4 * rows
    return math.ceil(packed_bytes) + (parameters - weights) * number_bytes


def count_layer_bytes(anatomy: Anatomy, quantisation: str, number_bytes: int) -> tuple[int, int]:
    """Return what visits the device of all layers together, and of the largest one.

    Of weights in few bits that are the codes alone; their scales stay on the device.
    """
    form = anatomy.get_quantisation(quantisation)
    sizes: dict[int, int] = {}
    for module in anatomy.layers.modules:
        if module.layer is not None:
            size = module.parameters * number_bytes
            sizes[module.layer] = sizes.get(module.layer, 0) + size
    for module in anatomy.quantisable if form != "none" else ():
        if module.layer is not None:  # in the place of the numbers are codes
            count = math.prod(module.shape)
            sizes[module.layer] += math.ceil(_CODE_BYTES[form] * count) - count * number_bytes
    return sum(sizes.values()), max(sizes.values(), default=0)


def count_visiting_bytes(
    anatomy: Anatomy, quantisation: str, number_bytes: int, *, is_cpu: bool
) -> int:
    """Return what a base takes on its device whose layers visit it two at a time.

    On the processor that is a copy beside the base itself.
    """
    whole = count_base_bytes(anatomy, quantisation, number_bytes)
    inside, largest = count_layer_bytes(anatomy, quantisation, number_bytes)
    return whole - (0 if is_cpu else inside) + 2 * largest


def count_buffer_bytes(anatomy: Anatomy, quantisation: str, number_bytes: int) -> int:
    """Return the room for the largest quantised matrix in full size."""
    if anatomy.get_quantisation(quantisation) == "none":
        return 0
    return number_bytes * anatomy.quantisable_sizes[2]


def count_state_bytes(
    anatomy: Anatomy, chosen: Sequence[ChosenModule], trainable: int, optimizer: str
) -> int:
    """Return what the optimizer remembers of ``trainable`` numbers, in bytes."""
    if optimizer == "adafactor":  # one number per row and column of each matrix
        by_name = anatomy.layers.by_name
        modules = [(by_name[item.name], item.rank) for item in chosen]
        return sum(
            4 * m.copies * (2 * rank + m.in_features + m.out_features) for m, rank in modules
        )
    return math.ceil(_STATE_BYTES.get(optimizer, 8.0) * trainable)
