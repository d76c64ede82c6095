"""The memory per device that quantised weights are unfolded into, one after the other."""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor

_buffers: dict[tuple[torch.device, torch.dtype], Tensor] = {}
_scratch = threading.local()


def borrow_buffer(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns memory for a tensor of ``shape``; what the last call returned is overwritten.

    It is as large as the largest weight so far. One computation at a time may use it, which holds
    in a job: forward and backward pass follow each other, on a card in the order of its stream.
    """
    count = math.prod(shape)
    known = _buffers.get((device, dtype))
    if known is None or known.numel() < count:
        _buffers.pop((device, dtype), None)  # given back before the larger one is asked for
        # also inside inference mode, whose tensors no gradient could pass through later
        with torch.inference_mode(False):
            known = torch.empty(count, dtype=dtype, device=device)
        _buffers[device, dtype] = known
    return known[:count].view(shape)


def borrow_scratch(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns memory for ``count`` numbers, of this thread alone, until it asks for more.

    On processors it is kept: asking the system for it anew took as long as a fifth of the work on
    a small matrix. Cards keep freed memory for the next one who asks anyway.
    """
    if device.type != "cpu":
        return torch.empty(count, dtype=dtype, device=device)
    known: Tensor | None = getattr(_scratch, str(dtype), None)
    if known is None or known.numel() < count:
        with torch.inference_mode(False):
            known = torch.empty(count, dtype=dtype)
        setattr(_scratch, str(dtype), known)
    return known[:count]
