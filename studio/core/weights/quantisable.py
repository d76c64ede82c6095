"""Which modules of a model are held in fewer bits when its base is quantised."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from studio.core.weights.matching import split_layer

BaseForm = Literal["auto", "none", "int8", "nf4"]
"""How a base is held where adapters are used."""
BASE_FORMS: Mapping[BaseForm, tuple[str, str]] = {
    "auto": (
        "As in training",
        "As the adapters saw it while they were trained; as in its files where they differ.",
    ),
    "none": ("As in its files", "All its weights, however the adapters were trained."),
    "int8": ("In 8 bits", "Half the memory of 16-bit weights."),
    "nf4": ("In 4 bits (NF4)", "A quarter of the memory of 16-bit weights; a little less exact."),
}
"""Words for each way, and what it means."""
QUANTISATION_NAMES = {"nf4": "4 bits (NF4)", "int8": "8 bits"}
_LEAST_SIDE = 16
_STACK = re.compile(r"\.experts\.(gate_up|up|down)_proj$")
_LEFT_OUT = re.compile(r"(^|\.)router(\.|$)|\.gate$")


def is_quantisable(name: str, shape: Sequence[int]) -> bool:
    """Return whether the linear module ``name`` is quantised, by its name and weight's shape.

    These are the matrices inside the numbered layers, experts among them: one by one ``(out, in)``,
    or stacked ``(experts, out, in)``. Left in 16 or 32 bits are embeddings and output heads (all
    words depend on them), routers (a small error sends a token to another expert), and matrices
    with a side below 16, which hold next to nothing.
    """
    return (
        split_layer(name)[0] is not None
        and len(shape) == (3 if _STACK.search(name) else 2)
        and min(shape[-2:]) >= _LEAST_SIDE
        and not _LEFT_OUT.search(name)
    )
