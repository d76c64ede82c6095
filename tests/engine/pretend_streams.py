"""Streams of a card that is none: who has waited for whom, so that nobody reads too early."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

Clock = dict["Stream", int]


class Unordered(RuntimeError):
    """Something uses memory without waiting for who used it before."""


class Event:
    """A moment of a stream."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.clock: Clock = {}

    def record(self, stream: Stream | None = None) -> None:
        self.clock = dict((stream or Stream.of(torch.device("cuda:0"))).clock)

    def elapsed_time(self, end: Event) -> float:
        return 1.0


class Stream:
    """Work in order; ``clock`` says up to which moment of every stream it has waited."""

    current: ClassVar[dict[torch.device, Stream]] = {}
    all: ClassVar[list[Stream]] = []

    def __init__(self, device: Any = None, *args: Any, **kwargs: Any) -> None:
        self.device = torch.device(device or "cuda:0")
        self.clock: Clock = {self: 0}
        Stream.all.append(self)

    @classmethod
    def of(cls, device: torch.device) -> Stream:
        """Returns the stream that the work on ``device`` goes to now."""
        if device not in cls.current:
            cls.current[device] = cls(device)
        return cls.current[device]

    def tick(self) -> None:
        """Begins another piece of work; the processor has done what it did before."""
        self.clock[self] += 1
        self.meet(HOST)

    def meet(self, other: Stream | None) -> None:
        """Waits until ``other`` is done, all streams if None."""
        for stream in [other] if other is not None else Stream.all:
            self._merge(stream.clock)

    def wait_stream(self, other: Stream) -> None:
        self._merge(other.clock)

    def wait_event(self, event: Event) -> None:
        self._merge(event.clock)

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def _merge(self, clock: Clock) -> None:
        for stream, tick in clock.items():
            self.clock[stream] = max(self.clock.get(stream, 0), tick)


HOST = Stream("cpu")


@dataclass
class Marks:
    """When which stream last used a piece of memory that belongs to ``owner``."""

    owner: Stream
    written: tuple[Stream, int] | None = None
    used: Clock = field(default_factory=dict)

    def use(self, stream: Stream, *, writes: bool) -> None:
        """Notes a use.

        Raises:
            Unordered: The stream has not waited for who wrote there, or uses what is written.
        """
        before = dict(self.used) if writes else {}
        if self.written is not None:
            before[self.written[0]] = max(self.written[1], before.get(self.written[0], 0))
        if any(stream.clock.get(one, 0) < tick for one, tick in before.items()):
            raise Unordered("memory is used before a copy has arrived or left")
        self.used[stream] = stream.clock[stream]
        if writes:
            self.written = (stream, stream.clock[stream])

    def is_in_use(self) -> bool:
        """Whether others may still use it when the owner takes it for something else."""
        return any(self.owner.clock.get(one, 0) < tick for one, tick in self.used.items())
