"""torch's own attention over sequences of different lengths (flash attention, on cards)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from studio.engine.models.attention import Documents

LABEL = "torch's attention for sequences of different lengths"
_DTYPES = (torch.bfloat16, torch.float16)
_LEAST_CAPABILITY = (8, 0)


def find_obstacle(device: torch.device, dtype: torch.dtype) -> str | None:
    """Returns why it cannot be used there, None if it can be tried."""
    if device.type != "cuda":
        return "it runs on graphics cards only"
    if dtype not in _DTYPES:
        return "it computes 16-bit numbers only"
    if torch.cuda.get_device_capability(device) < _LEAST_CAPABILITY:
        return "the card is too old for it"
    try:
        _load()
    except (ImportError, AttributeError):
        return "this version of torch does not have it"
    return None


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
    run = _load()
    names = inspect.signature(run).parameters
    q, k, v = (one[0].transpose(0, 1) for one in (query, key, value))
    extra: dict[str, Any] = {"scale": scaling}
    if q.shape[1] != k.shape[1]:
        if "enable_gqa" in names:
            extra["enable_gqa"] = True
        else:
            k, v = (one.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for one in (k, v))
    if "window_size" in names:
        extra["window_size"] = (-1 if window is None else window - 1, 0)
    elif window is None:
        extra["is_causal"] = True
    else:
        raise NotImplementedError("this version of torch has no window")
    ends, longest = documents.get_bounds(query.device), max(documents.lengths)
    joined: Tensor = run(q, k, v, ends, ends, longest, longest, **extra)
    return joined[None]


def _load() -> Callable[..., Any]:
    found: Callable[..., Any] = import_module("torch.nn.attention.varlen").varlen_attn
    return found
