"""The memory per device that quantised weights are unfolded into, one after the other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_buffers: dict[tuple[torch.device, torch.dtype], Tensor] = {}


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


def release_buffers() -> None:
    """Gives the memory back, for example before another model is loaded."""
    _buffers.clear()
