"""Reading along with a job: every fact in order, and an end also when the job dies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from studio.core.events.types import Event, RunPaused
from studio.core.events.writer import EventWriter
from studio.core.jobs.follow import follow
from studio.core.runs.layout import RunLayout


class Actor:
    """Stands in for a process: writes one fact at each look and ends when none is left."""

    def __init__(self, layout: RunLayout, facts: Sequence[Event]) -> None:
        self._layout = layout
        self._facts = list(facts)

    def poll(self) -> int | None:
        """Write the next fact; the exit code once there are no more."""
        if not self._facts:
            return 0
        with EventWriter(self._layout.events) as writer:
            writer.write(self._facts.pop(0))
        return None

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Never wait."""
        return None


def test_every_fact_arrives_once_and_in_order(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    facts = [RunPaused(step=step) for step in range(5)]
    followed = list(follow(layout, Actor(layout, facts)))
    assert [event.step for event in followed if isinstance(event, RunPaused)] == [0, 1, 2, 3, 4]


def test_facts_of_an_earlier_attempt_are_passed_over(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    with EventWriter(layout.events) as writer:
        writer.write(RunPaused(step=99))
    offset = layout.events.stat().st_size
    followed = list(follow(layout, Actor(layout, [RunPaused(step=1)]), offset=offset))
    assert [event.step for event in followed if isinstance(event, RunPaused)] == [1]


def test_a_job_that_dies_without_a_word_ends_the_reading(tmp_path: Path) -> None:
    assert list(follow(RunLayout(tmp_path), Actor(RunLayout(tmp_path), []))) == []
