"""Rotary positions that depend on the longest document: packed rows must not mix them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_LENGTH_DEPENDENT = ("dynamic", "longrope")


def separate_rotary(model: nn.Module, get_lengths: Callable[[], Sequence[int]]) -> None:
    """Lets the rotary positions of ``model`` be computed document by document in packed rows.

    Some ways to reach longer contexts turn all positions of a row by what its longest document
    needs, so that beside a long document a short one would not be what it is alone.
    ``get_lengths`` returns the lengths of the documents of the present row, none if it is not
    packed.
    """
    for module in model.modules():
        if _depends_on_length(module):
            module.forward = _separate(module.forward, get_lengths)


def _depends_on_length(module: nn.Module) -> bool:
    kind = getattr(module, "rope_type", None)
    kinds = kind.values() if isinstance(kind, dict) else [kind]
    return any(word in str(one) for one in kinds for word in _LENGTH_DEPENDENT)


def _separate(
    forward: Callable[..., Any], get_lengths: Callable[[], Sequence[int]]
) -> Callable[..., Any]:
    def run(x: Tensor, position_ids: Tensor, *rest: Any, **named: Any) -> Any:
        lengths = list(get_lengths())
        if len(lengths) < 2 or sum(lengths) != position_ids.shape[-1]:
            return forward(x, position_ids, *rest, **named)
        parts = [forward(x, one, *rest, **named) for one in torch.split(position_ids, lengths, -1)]
        return tuple(torch.cat(same, dim=-2) for same in zip(*parts, strict=True))

    return run
