"""What a run mended by itself is told in plain words, in the log and on its page."""

from __future__ import annotations

import math

import pytest

from studio.core.events import types
from studio.core.runs.fold import fold_all
from studio.core.runs.incidents import INCIDENT_TYPES, INCIDENTS_KEPT, describe_incident
from studio.core.runs.record import RunRecord
from studio.core.runs.series import RunSeries
from studio.core.runs.words import describe_event

EVENTS: list[tuple[types.Event, list[str]]] = [
    (
        types.MicroBatchShrunk(
            step=7, before_tokens=4096, after_tokens=2048, cause="out_of_memory"
        ),
        ["Step 7", "not enough memory", "2,048 instead of 4,096", "result stays the same"],
    ),
    (
        types.MicroBatchShrunk(step=7, before_tokens=4, after_tokens=2, cause="shared_memory"),
        ["computer's memory"],
    ),
    (types.RecomputingExtended(step=7, before="none", after="all"), ["none became all"]),
    (types.MemoryCleared(step=7), ["done again"]),
    (
        types.StepRefused(
            step=7, cause="not_finite", loss=math.nan, gradient_norm=1.0, attempt=1,
            rows=tuple(f"row {n} of a.jsonl" for n in range(1, 6)), layers=("layer 3",),
        ),
        ["no number", "this batch is left out", "row 3 of a.jsonl and 2 more", "rows of your"],
    ),
    (
        types.StepRefused(
            step=7, cause="exploded", loss=25.0, gradient_norm=1.0, attempt=2, skipped_steps=4
        ),
        ["jumped to 25", "the last batches are left out"],
    ),
    (types.StateRestored(step=4, from_step=7, cause="exploded"), ["Step 7", "back to step 4"]),
    (types.LearningRateLowered(step=7, factor=0.25), ["25 %"]),
    (
        types.SharedMemoryUsed(step=7, used_bytes=8 << 30, total_bytes=8 << 30, slowdown=6.0),
        ["6.0 times slower", "8.0 GB"],
    ),
    (
        types.CardThrottled(
            step=7, temperature_celsius=87, clock_mhz=1200, full_clock_mhz=1900
        ),
        ["87 °C", "1,200 instead of 1,900 MHz", "more air"],
    ),
    (types.CardCooled(step=7, temperature_celsius=70), ["full speed"]),
    (
        types.DiskNearlyFull(step=7, folder="/runs", free_bytes=1 << 20, needed_bytes=2 << 20),
        ["1.0 MB", "newest", "2.0 MB"],
    ),
    (types.CheckpointSkipped(step=7, folder="/runs", free_bytes=0), ["will try again", "/runs"]),
]  # fmt: skip


def test_every_kind_is_told() -> None:
    assert {type(event) for event, _ in EVENTS} == set(INCIDENT_TYPES)
    assert describe_incident(types.PlanMade(total_steps=1, steps_per_epoch=1)) is None


@pytest.mark.parametrize(("event", "parts"), EVENTS)
def test_the_log_tells_what_happened_and_what_to_do(event: types.Event, parts: list[str]) -> None:
    line = describe_event(event)
    assert line is not None
    for part in parts:
        assert part in line
    (incident,) = fold_all(RunRecord(), [event]).incidents
    assert str(incident) == line
    assert incident.title


def test_a_record_keeps_the_newest_incidents_only() -> None:
    many = [types.MemoryCleared(step=step) for step in range(INCIDENTS_KEPT + 9)]
    record = fold_all(RunRecord(), many)
    assert len(record.incidents) == INCIDENTS_KEPT
    assert record.incidents[-1].step == INCIDENTS_KEPT + 8


def _step(step: int) -> types.StepFinished:
    return types.StepFinished(
        step=step, epoch=0.1, loss=float(step), learning_rate=1e-4, gradient_norm=1.0,
        supervised_tokens=5, tokens=10, seconds=1.0,
    )  # fmt: skip


def test_going_back_takes_later_points_and_a_later_best_away() -> None:
    best = types.ValidationFinished(
        step=3, loss=1.0, supervised_tokens=5, is_best=True, seconds=1.0
    )
    back = types.StateRestored(step=2, from_step=4, cause="exploded")
    events = [_step(1), _step(2), _step(3), best, _step(4), back]
    record = fold_all(RunRecord(), events)
    assert (record.step, record.best_step, record.best_validation_loss) == (2, None, None)
    series = RunSeries()
    for event in events:
        series.add(event)
    assert list(series.training.step.view) == [1, 2]
    assert len(series.validation) == 0
