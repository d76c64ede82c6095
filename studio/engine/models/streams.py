"""Work beside the work: streams of a card on which copies run while it computes."""

from __future__ import annotations

from collections.abc import Callable

import torch


def open_side_stream(device: torch.device) -> torch.cuda.Stream | None:
    """Returns a stream of its own on a card, None on the processor."""
    if device.type != "cuda":
        return None
    build: Callable[[torch.device], torch.cuda.Stream] = torch.cuda.Stream
    return build(device)
