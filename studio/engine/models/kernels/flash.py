"""The package flash-attn, where the user has installed it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from studio.engine.models.attention import Documents

LABEL = "the package flash-attn"
_DTYPES = (torch.bfloat16, torch.float16)


def find_obstacle(device: torch.device, dtype: torch.dtype) -> str | None:
    """Returns why it cannot be used there, None if it can be tried."""
    if device.type != "cuda":
        return "it runs on graphics cards only"
    if dtype not in _DTYPES:
        return "it computes 16-bit numbers only"
    return None if find_spec("flash_attn") else "it is not installed"


def attend(
    documents: Documents,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scaling: float,
    window: int | None,
) -> Tensor:
    """Returns attention within each document, causal, ``(1, tokens, heads, width)``."""
    q, k, v = (one[0].transpose(0, 1) for one in (query, key, value))
    ends, longest = documents.get_bounds(query.device), max(documents.lengths)
    joined: Tensor = import_module("flash_attn").flash_attn_varlen_func(
        q,
        k,
        v,
        ends,
        ends,
        longest,
        longest,
        softmax_scale=scaling,
        causal=True,
        window_size=(-1 if window is None else window - 1, 0),
    )
    return joined[None]
