"""The facts of a run that helps itself: memory, broken numbers, a hot card, a full disk."""

from __future__ import annotations

from typing import Literal

from studio.core.events.base import Event


class MicroBatchShrunk(Event):
    """Fewer tokens are computed at once from now on; the result stays the same.

    ``out_of_memory``: the device had no room. ``shared_memory``: the driver had moved part of the
    card's memory to the computer's, which is many times slower.
    """

    step: int
    before_tokens: int
    after_tokens: int
    cause: Literal["out_of_memory", "shared_memory"]


class RecomputingExtended(Event):
    """More is recomputed instead of kept from now on; the result stays the same."""

    step: int
    before: str
    after: str


class MemoryCleared(Event):
    """The device had no room and nothing can be made smaller: what it held back was given up."""

    step: int


class StepRefused(Event):
    """A step was not done, because its loss or gradient was broken or far too high.

    ``attempt`` counts how often that happened in a short time. ``rows`` are the rows of the data
    and ``layers`` the layers where the trouble was found, as far as it was.
    """

    step: int
    cause: Literal["not_finite", "exploded"]
    loss: float
    gradient_norm: float
    attempt: int
    skipped_steps: int = 1
    rows: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


class StateRestored(Event):
    """The run went back to how it was after ``step``; it had come to ``from_step``."""

    step: int
    from_step: int
    cause: Literal["not_finite", "exploded", "out_of_memory"]


class LearningRateLowered(Event):
    """From now on the planned learning rate is multiplied by ``factor``."""

    step: int
    factor: float


class SharedMemoryUsed(Event):
    """The card's memory is full, and the driver uses the computer's for the rest.

    ``slowdown`` is how many times slower steps became, 0 where that is not known.
    """

    step: int
    used_bytes: int
    total_bytes: int
    slowdown: float


class CardThrottled(Event):
    """The card slows itself down because it is hot."""

    step: int
    temperature_celsius: int
    clock_mhz: int
    full_clock_mhz: int


class CardCooled(Event):
    """The card is back at its full speed."""

    step: int
    temperature_celsius: int


class DiskNearlyFull(Event):
    """There is hardly room for another checkpoint: only the newest and the best are kept."""

    step: int
    folder: str
    free_bytes: int
    needed_bytes: int


class CheckpointSkipped(Event):
    """A checkpoint could not be written for want of space; the run goes on without it."""

    step: int
    folder: str
    free_bytes: int
