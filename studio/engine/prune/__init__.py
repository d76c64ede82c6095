"""Which weights of a matrix are kept: one file per pattern, named as on the command line."""

from __future__ import annotations

from typing import Protocol, cast

import torch

from studio.engine.lora.registry import get_capability


class Pattern(Protocol):
    """What the module of a pattern provides."""

    def find_kept(self, weight: torch.Tensor, sparsity: float) -> torch.Tensor:
        """Returns which numbers of ``weight`` ``(outputs, inputs)`` stay, as booleans.

        Raises:
            RecipeInvalid: The pattern does not allow this ``sparsity`` or this width.
        """
        ...


def get_pattern(name: str) -> Pattern:
    """Returns the pattern in the file called ``name``.

    Raises:
        NotAvailableYet: There is no such file.
    """
    return cast(Pattern, get_capability(__name__, __path__, name, "pruning pattern"))
