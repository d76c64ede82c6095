"""Work beside the work: copies that a card makes while it computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Mark = object
"""A moment among the copies that were asked for."""


class SideStream(Protocol):
    """Makes copies while the work goes on.

    The processor runs far ahead of a card. So that no more memory is taken than is in use, what is
    copied to comes from the memory of the work itself, which can use at once what it gave up: a
    copy begins when the work has come to where it was asked for. Whoever gives up a tensor that is
    copied lets the work wait for the copy first.
    """

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Copies ``source`` into ``target`` as soon as the work has come here."""
        ...

    def mark(self) -> Mark:
        """Returns the present moment: behind all copies that were asked for so far."""
        ...

    def wait(self, mark: Mark) -> None:
        """Lets the work that follows wait for the copies before ``mark``."""
        ...


class CardStream:
    """A stream of a card for copies."""

    def __init__(self, device: torch.device) -> None:
        build: Callable[[torch.device], torch.cuda.Stream] = torch.cuda.Stream
        self._device = device
        self._stream = build(device)

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Copies ``source`` into ``target`` as soon as the work has come here."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            target.copy_(source, non_blocking=True)

    def mark(self) -> Mark:
        """Returns the present moment: behind all copies that were asked for so far."""
        return self._stream.record_event()

    def wait(self, mark: Mark) -> None:
        """Lets the work that follows wait for the copies before ``mark``."""
        if isinstance(mark, torch.cuda.Event):
            torch.cuda.current_stream(self._device).wait_event(mark)


def open_side_stream(device: torch.device) -> SideStream | None:
    """Returns a stream of its own on a card, None on the processor."""
    return CardStream(device) if device.type == "cuda" else None
