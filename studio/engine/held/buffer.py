"""The memory per device that quantised weights are unfolded into, one after the other."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class _OfThread(threading.local):
    """Scratch memory by format and purpose, and views of memory that stay as they are."""

    def __init__(self) -> None:
        self.scratch: dict[Hashable, Tensor] = {}
        self.views: dict[Hashable, Any] = {}


_buffers: dict[tuple[torch.device, torch.dtype], Tensor] = {}
_own = _OfThread()


def borrow_buffer(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns memory for a tensor of ``shape``; what the last call returned is overwritten.

    It is as large as the largest weight so far. One computation at a time may use it, which holds
    in a job: forward and backward pass follow each other, on a card in the order of its stream.
    """
    count = math.prod(shape)
    known = _buffers.get((device, dtype))
    if known is None or known.numel() < count:
        _own.views.clear()
        _buffers.pop((device, dtype), None)  # given back before the larger one is asked for
        # also inside inference mode, whose tensors no gradient could pass through later
        with torch.inference_mode(False):
            known = torch.empty(count, dtype=dtype, device=device)
        _buffers[device, dtype] = known
    return known[:count].view(shape)


def borrow_scratch(
    count: int, dtype: torch.dtype, device: torch.device, purpose: str = ""
) -> Tensor:
    """Returns memory for ``count`` numbers, of this thread alone, until it asks for more.

    What is asked for another ``purpose`` lies elsewhere. On processors it is kept: asking the
    system for it anew took as long as a fifth of the work on a small matrix. Cards keep freed
    memory for the next one who asks anyway.
    """
    if device.type != "cpu":
        return torch.empty(count, dtype=dtype, device=device)
    known = _own.scratch.get((dtype, purpose))
    if known is None or known.numel() < count:
        _own.views.clear()
        with torch.inference_mode(False):
            known = torch.empty(count, dtype=dtype)
        _own.scratch[dtype, purpose] = known
    return known[:count]


def keep_views(key: Hashable, device: torch.device, build: Callable[[], T]) -> T:
    """Returns ``build()``: views of borrowed memory, kept on processors until any of it grows.

    Each view takes as long to make as the work on a thousand numbers. Of memory that all threads
    share the key must name the address: another thread may let it grow.
    """
    if device.type != "cpu":
        return build()
    found: T | None = _own.views.get(key)
    if found is None:
        with torch.inference_mode(False):
            found = build()
        _own.views[key] = found
    return found
