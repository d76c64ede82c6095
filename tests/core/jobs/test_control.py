"""Requests reach the running attempt, each once, and no earlier one is replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.core.errors import FileUnusable
from studio.core.jobs.control import ControlTail, send
from studio.core.jobs.orders import Ask, Pause, Resume, Stop, Turn
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import claim, release


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path)


def test_requests_are_read_once_in_their_order(layout: RunLayout) -> None:
    tail = ControlTail(layout.control)
    assert tail.read() == []
    ask = Ask(request=1, turns=(Turn(role="user", content="Où?\nLà."),))
    for request in (Pause(), ask, Stop()):
        send(layout, request)
    assert tail.read() == [Pause(), ask, Stop()]
    assert tail.read() == []
    send(layout, Resume())
    assert tail.read() == [Resume()]


def test_a_tail_from_the_end_passes_over_what_is_there(layout: RunLayout) -> None:
    assert ControlTail(layout.control, from_end=True).read() == []
    send(layout, Stop())
    tail = ControlTail(layout.control, from_end=True)
    assert tail.read() == []
    send(layout, Pause())
    assert tail.read() == [Pause()]


def test_an_attempt_neither_replays_old_requests_nor_loses_early_ones(layout: RunLayout) -> None:
    send(layout, Stop())
    claim(layout)
    send(layout, Pause())  # while the job is still loading
    assert ControlTail.of_attempt(layout).read() == [Pause()]
    release(layout)
    claim(layout)
    assert ControlTail.of_attempt(layout).read() == []
    release(layout)
    assert ControlTail.of_attempt(layout).read() == []


def test_lines_that_are_no_request_are_counted_and_passed_over(layout: RunLayout) -> None:
    layout.control.write_text('{"kind":"dance"}\nbroken\n\n{"kind":"pause"}\n{"kind":"sto')
    tail = ControlTail(layout.control)
    assert tail.read() == [Pause()]
    send(layout, Stop())
    assert tail.read() == [Stop()]
    assert tail.skipped == 3


def test_a_run_that_is_gone_is_said_in_words(layout: RunLayout) -> None:
    with pytest.raises(FileUnusable, match="does not exist"):
        send(RunLayout(layout.folder / "gone"), Stop())
