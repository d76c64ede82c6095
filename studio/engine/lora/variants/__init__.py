"""The forms of the low-rank update: one file each, whose name is the recipe's ``variant``."""

from __future__ import annotations

from typing import Protocol, cast

from studio.engine.lora.registry import get_capability


class Variant(Protocol):
    """What the module of a variant provides."""

    HAS_MAGNITUDE: bool
    """Whether each output of a layer learns a length of its own (``lora_magnitude``)."""

    def get_scaling(self, rank: int, alpha: float) -> float:
        """Returns the factor of ``B A x``."""
        ...


def get_variant(name: str) -> Variant:
    """Returns the variant in the file called ``name``.

    Raises:
        NotAvailableYet: There is no such file.
    """
    return cast(Variant, get_capability(__name__, __path__, name, "adapter variant"))
