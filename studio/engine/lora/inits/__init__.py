"""How adapters start: one file each, whose name is the recipe's ``init``."""

from __future__ import annotations

from typing import Protocol, cast

import torch

from studio.engine.lora.adapted import AdaptedModule
from studio.engine.lora.registry import get_capability


class Init(Protocol):
    """What the module of an init provides."""

    def initialise(self, module: AdaptedModule, generator: torch.Generator) -> None:
        """Fills ``lora_A`` and ``lora_B``, drawing random numbers from the CPU ``generator``."""
        ...


def get_init(name: str) -> Init:
    """Returns the init in the file called ``name``.

    Raises:
        NotAvailableYet: There is no such file.
    """
    return cast(Init, get_capability(__name__, __path__, name, "start value"))
