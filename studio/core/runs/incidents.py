"""What a run mended by itself, in words for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from studio.core.events import types
from studio.core.units import format_bytes, format_loss, format_percent

INCIDENTS_KEPT = 100
_PLACES_NAMED = 3


class Incident(BaseModel):
    """One thing that went wrong or was changed during a run; ``title`` is a short name for it."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    step: int
    severity: Literal["note", "warning"]
    title: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"Step {self.step:,}: {self.message} {self.remedy}".strip()


def describe_incident(event: types.Event) -> Incident | None:
    """Returns ``event`` in words, or None where nothing had to be mended."""
    describe = _WORDS.get(type(event))
    return None if describe is None else describe(event)


def _describe_shrunk(event: types.MicroBatchShrunk) -> Incident:
    why = (
        "There was not enough memory"
        if event.cause == "out_of_memory"
        else "The card was using the computer's memory"
    )
    return Incident(
        step=event.step,
        severity="note",
        title="Fewer tokens at once",
        message=f"{why}, so {event.after_tokens:,} instead of {event.before_tokens:,} tokens are "
        "computed at once from now on.",
        remedy="Nothing to do: the result stays the same.",
    )


def _describe_recomputing(event: types.RecomputingExtended) -> Incident:
    return Incident(
        step=event.step,
        severity="note",
        title="More is recomputed",
        message="There was not enough memory for a single example, so more intermediate results "
        f"are computed again instead of kept ({event.before} became {event.after}).",
        remedy="Nothing to do: the result stays the same, steps take a little longer.",
    )


def _describe_cleared(event: types.MemoryCleared) -> Incident:
    return Incident(
        step=event.step,
        severity="note",
        title="Memory tidied up",
        message="There was not enough memory, so unused blocks were given back and the step is "
        "done again.",
        remedy="Close other programs that use the same memory.",
    )


def _describe_refused(event: types.StepRefused) -> Incident:
    if event.cause == "not_finite":
        what = "The loss was no number any more" if event.loss != event.loss else ""
        what = what or "The numbers grew beyond all limits"
    else:
        what = f"The loss jumped to {format_loss(event.loss)}"
    skipped = "this batch is" if event.skipped_steps == 1 else "the last batches are"
    found = _list(event.rows) or _list(event.layers)
    return Incident(
        step=event.step,
        severity="warning",
        title="Broken step",
        message=f"{what}, so {skipped} left out{f' (found in {found})' if found else ''}.",
        remedy="Have a look at these rows of your data." if event.rows else "",
    )


def _describe_restored(event: types.StateRestored) -> Incident:
    return Incident(
        step=event.from_step,
        severity="note" if event.cause == "out_of_memory" else "warning",
        title="Went back",
        message=f"The run went back to step {event.step:,}, the last one that was surely good.",
        remedy="Nothing to do: it goes on from there.",
    )


def _describe_lowered(event: types.LearningRateLowered) -> Incident:
    return Incident(
        step=event.step,
        severity="warning",
        title="Learning rate lowered",
        message="It happened again, so the learning rate is "
        f"{format_percent(event.factor)} of the planned one from now on.",
        remedy="If the result disappoints, start again with a lower learning rate.",
    )


def _describe_shared(event: types.SharedMemoryUsed) -> Incident:
    slower = f"Steps became {event.slowdown:.1f} times slower: " if event.slowdown else ""
    return Incident(
        step=event.step,
        severity="warning",
        title="Card's memory is full",
        message=f"{slower}{format_bytes(event.used_bytes)} of "
        f"{format_bytes(event.total_bytes)} are in use, and the driver has moved a part to the "
        "computer's memory, which is much slower.",
        remedy="Close other programs that use the card.",
    )


def _describe_throttled(event: types.CardThrottled) -> Incident:
    return Incident(
        step=event.step,
        severity="warning",
        title="Card is hot",
        message=f"The card has {event.temperature_celsius} °C and slows itself down "
        f"({event.clock_mhz:,} instead of {event.full_clock_mhz:,} MHz).",
        remedy="Give it more air; the result does not suffer, training only takes longer.",
    )


def _describe_cooled(event: types.CardCooled) -> Incident:
    return Incident(
        step=event.step,
        severity="note",
        title="Card has cooled down",
        message=f"The card works at full speed again ({event.temperature_celsius} °C).",
    )


def _describe_disk(event: types.DiskNearlyFull) -> Incident:
    return Incident(
        step=event.step,
        severity="warning",
        title="Disk nearly full",
        message=f"Only {format_bytes(event.free_bytes)} are left on the disk, so only the newest "
        "and the best checkpoint are kept from now on.",
        remedy=f"Free some space: one checkpoint takes {format_bytes(event.needed_bytes)}.",
    )


def _describe_skipped(event: types.CheckpointSkipped) -> Incident:
    return Incident(
        step=event.step,
        severity="warning",
        title="Not saved",
        message=f"The disk is full ({format_bytes(event.free_bytes)} left), so this step could not "
        "be saved; training goes on and will try again.",
        remedy=f"Free some space on the disk of {event.folder}.",
    )


def _list(places: tuple[str, ...]) -> str:
    named = ", ".join(places[:_PLACES_NAMED])
    more = len(places) - _PLACES_NAMED
    return f"{named} and {more} more" if more > 0 else named


_WORDS: dict[type[types.Event], Callable[[Any], Incident]] = {
    types.MicroBatchShrunk: _describe_shrunk,
    types.RecomputingExtended: _describe_recomputing,
    types.MemoryCleared: _describe_cleared,
    types.StepRefused: _describe_refused,
    types.StateRestored: _describe_restored,
    types.LearningRateLowered: _describe_lowered,
    types.SharedMemoryUsed: _describe_shared,
    types.CardThrottled: _describe_throttled,
    types.CardCooled: _describe_cooled,
    types.DiskNearlyFull: _describe_disk,
    types.CheckpointSkipped: _describe_skipped,
}
INCIDENT_TYPES = tuple(_WORDS)
