"""Watches the card beside the training: memory that overflows unseen, and heat."""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

import torch

from studio.core.events.types import (
    CardCooled,
    CardThrottled,
    Event,
    NoticeRaised,
    SharedMemoryUsed,
)
from studio.core.memory.gauge import CardGauge, CardReading
from studio.core.units import format_bytes

_LOOK_SECONDS = 5.0
_HOT_LOOKS = 2
"""So many looks in a row must agree before anybody is told."""
_CLIFF = 3.0
_CLIFF_STEPS = 2
_FULL = 0.95
_USUAL_STEPS, _LEAST_STEPS = 16, 5
_DRIVER_BYTES = 128 << 20
"""What the driver still takes for itself when kernels are used for the first time."""


class Gauge(Protocol):
    """Reads one card."""

    def read(self) -> CardReading | None:
        """Returns how the card is doing, None where nobody knows."""
        ...


class CardWatch:
    """States when the card throttles, and when its memory has overflowed into the computer's.

    The driver of Windows does not refuse when the card's memory is full: it takes the computer's,
    and steps become many times slower. ``get_reserved_bytes`` is what this process holds of the
    card's memory; more than there is proves it at once, otherwise a sudden slowness on a full
    card does. ``can_spill``: the driver is one that does so.
    """

    def __init__(
        self,
        gauge: Gauge,
        *,
        can_spill: bool,
        get_reserved_bytes: Callable[[], int] = lambda: 0,
        read_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gauge = gauge
        self._can_spill = can_spill
        self._get_reserved_bytes = get_reserved_bytes
        self._read_clock = read_clock
        self._looked_at = float("-inf")
        self._usual: deque[float] = deque(maxlen=_USUAL_STEPS)
        self._slow_steps = 0
        self._hot_looks = 0
        self._is_hot = False

    def observe(self, step: int, tokens: int, seconds: float) -> Iterator[Event]:
        """Takes a finished step into account.

        Yields:
            CardThrottled, CardCooled; SharedMemoryUsed, after which less must be computed at once.
        """
        if self._can_spill and tokens and seconds > 0:
            yield from self._check_spill(step, seconds / tokens)
        now = self._read_clock()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            yield from self._check_heat(step)

    def accept(self) -> None:
        """Takes the present speed for the usual one: nothing can be done about it."""
        self._usual.clear()

    def _check_spill(self, step: int, seconds_per_token: float) -> Iterator[Event]:
        usual = statistics.median(self._usual) if len(self._usual) >= _LEAST_STEPS else None
        slowdown = seconds_per_token / usual if usual else 0.0
        if slowdown < _CLIFF:
            self._slow_steps = 0
            self._usual.append(seconds_per_token)
        else:
            self._slow_steps += 1
        is_cliff = self._slow_steps >= _CLIFF_STEPS
        reserved = self._get_reserved_bytes()
        if not (is_cliff or reserved):
            return
        reading = self._gauge.read()
        if reading is None:
            return
        is_beyond = reserved > reading.total_bytes
        if is_beyond or (is_cliff and reading.used_fraction >= _FULL):
            self._slow_steps = 0
            yield SharedMemoryUsed(
                step=step,
                used_bytes=max(reserved, reading.used_bytes),
                total_bytes=reading.total_bytes,
                slowdown=slowdown if is_cliff else 0.0,
            )

    def _check_heat(self, step: int) -> Iterator[Event]:
        reading = self._gauge.read()
        if reading is None or reading.is_throttled == self._is_hot:
            self._hot_looks = 0
            return
        self._hot_looks += 1
        if self._hot_looks < _HOT_LOOKS:
            return
        self._hot_looks = 0
        self._is_hot = reading.is_throttled
        if self._is_hot:
            yield CardThrottled(
                step=step,
                temperature_celsius=reading.temperature_celsius,
                clock_mhz=reading.clock_mhz,
                full_clock_mhz=reading.full_clock_mhz,
            )
        else:
            yield CardCooled(step=step, temperature_celsius=reading.temperature_celsius)


def build_watch(device: torch.device) -> CardWatch | None:
    """Returns who watches ``device``, None for the processor."""
    if device.type != "cuda":
        return None
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    gauge = CardGauge(str(uuid) if uuid is not None else device.index or 0)
    return CardWatch(
        gauge,
        can_spill=can_spill(),
        get_reserved_bytes=lambda: torch.cuda.memory_reserved(device),
    )


def stay_within_card(device: torch.device) -> Iterator[Event]:
    """Lets this process take no more of a card's memory than is free now, where it would overflow.

    A driver that overflows never says that the memory is full, so torch would not even use again
    what it holds back for later. With a limit it does, and then says so itself, which is a case
    that the run knows how to handle.

    Yields:
        NoticeRaised, once, if there is a limit now.
    """
    if device.type != "cuda" or not can_spill():
        return
    free, total = torch.cuda.mem_get_info(device)
    limit = int(free) + torch.cuda.memory_reserved(device) - _DRIVER_BYTES
    torch.cuda.set_per_process_memory_fraction(min(1.0, max(0.0, limit / total)), device)
    yield NoticeRaised(
        code="card_limited",
        message=f"This run takes at most {format_bytes(limit)} of the card's memory, which is what "
        "is free now. Beyond that Windows would lend it the computer's memory, and every step "
        "would take many times longer.",
        remedy="If more is needed, close other programs that show pictures before you start.",
    )


def can_spill() -> bool:
    """Returns whether the card's driver is that of Windows, also below a Linux inside Windows."""
    return sys.platform == "win32" or "microsoft" in platform.release().lower()
