"""Runs that train while their rows are still prepared: exact, resumable, and ended with care."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import DatasetInvalid
from studio.core.events.types import (
    AdapterSaved,
    CheckpointSaved,
    DataPrepared,
    LengthsMeasured,
    NoticeRaised,
    PhaseEntered,
    PlanMade,
    RunFinished,
    RunStopped,
    SettingResolved,
    StepFinished,
)
from studio.core.jobs.orders import Stop
from studio.core.runs.layout import RunLayout
from studio.engine.data import sampling, streaming
from studio.engine.jobs import train_rest
from tests.engine.tiny_run import ScriptedControl, build_run, of_type, train_run, write_chats

STEPS = 12
Gate = Callable[[Callable[[list[Any]], bool]], None]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets small files count as large ones."""
    monkeypatch.setattr(streaming, "STREAM_BYTES", 1)
    monkeypatch.setattr(streaming, "FEWEST_ROWS", 64)
    monkeypatch.setattr(sampling, "SAMPLE_ROWS", 32)
    monkeypatch.setattr(train_rest, "_TELL_SECONDS", 0.0)


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    return write_chats(tmp_path / "chats.jsonl", rows=120)


class Waiting:
    """Holds the preparation back until a test lets it go; then it may fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = threading.Event()
        self.error: Exception | None = None
        self._real = streaming._prepare_rest
        self.finished = threading.Event()
        monkeypatch.setattr(streaming, "_prepare_rest", self._prepare)

    def _prepare(self, *args: Any) -> Iterator[int]:
        while not self.gate.wait(0.005):
            yield 7
        try:
            if self.error is not None:
                raise self.error
            return (yield from self._real(*args))  # type: ignore[misc]  # a generator's result
        finally:
            self.finished.set()

    def end_after(self, steps: int) -> Callable[[list[Any]], bool]:
        """Lets the preparation come to its end between two steps."""

        def look(seen: list[Any]) -> bool:
            if len(of_type(seen, StepFinished)) >= steps and not self.gate.is_set():
                self.gate.set()
                assert self.finished.wait(30)
            return False

        return look


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waiting]:
    one = Waiting(monkeypatch)
    yield one
    one.gate.set()


def _run(
    folder: Path, base: Path, chats: Path, look: Callable[[list[Any]], bool] | None = None
) -> tuple[RunLayout, list[Any]]:
    # no home of its own: the folder above the run keeps prepared rows
    layout = build_run(folder / "runs" / "one", base, chats, steps=STEPS, batch_sequences=4)
    return layout, _go_on(layout, look)


def _go_on(layout: RunLayout, look: Callable[[list[Any]], bool] | None = None) -> list[Any]:
    control = ScriptedControl(layout)
    if look is not None:
        control.at(look, Stop())
    return train_run(layout, control)


def _weights(layout: RunLayout) -> bytes:
    return (layout.adapter / "adapter_model.safetensors").read_bytes()


def _losses(events: list[Any]) -> list[float]:
    return [event.loss for event in of_type(events, StepFinished)]


def test_a_run_is_the_same_whenever_its_rows_are_ready(
    tmp_path: Path, tiny_base: Path, chats: Path, waiting: Waiting
) -> None:
    late, slow = _run(tmp_path / "never", tiny_base, chats)
    assert not waiting.finished.is_set()
    middle, events = _run(tmp_path / "middle", tiny_base, chats, waiting.end_after(5))
    cached = build_run(tmp_path / "middle" / "runs" / "two", tiny_base, chats, steps=STEPS)
    known = _go_on(cached)
    assert _weights(late) == _weights(middle) == _weights(cached)
    assert _losses(slow) == _losses(events) == _losses(known)

    first, exact = of_type(events, DataPrepared)
    assert first.is_estimate
    assert not exact.is_estimate
    assert exact == of_type(known, DataPrepared)[0]
    assert (first.train_rows, first.validation_rows) == (exact.train_rows, exact.validation_rows)
    assert first.train_tokens == pytest.approx(exact.train_tokens, rel=0.2)
    kinds = [type(event) for event in events]
    assert kinds.index(StepFinished) < kinds.index(LengthsMeasured)
    assert kinds.index(PlanMade) < kinds.index(LengthsMeasured)
    details = [event.detail for event in of_type(events, PhaseEntered) if event.phase == "training"]
    assert "preparing rows: 7 of 120" in details
    assert "rest_unprepared" in [event.code for event in of_type(slow, NoticeRaised)]
    reasons = {event.key: event.why for event in of_type(events, SettingResolved)}
    assert reasons["data.max_tokens"].startswith("fits 99 % of 32 rows")
    assert json.loads(middle.manifest.read_text())["preparation"] == "streamed"


def test_a_run_stopped_while_rows_are_prepared_goes_on_exactly(
    tmp_path: Path, tiny_base: Path, chats: Path, waiting: Waiting
) -> None:
    whole, _ = _run(tmp_path / "whole", tiny_base, chats)
    layout, events = _run(
        tmp_path / "cut", tiny_base, chats, lambda seen: len(of_type(seen, StepFinished)) == 5
    )
    assert isinstance(events[-1], RunStopped)
    assert not list((tmp_path / "cut").rglob(".part-*"))
    again = _go_on(layout, waiting.end_after(2))
    assert isinstance(again[-1], RunFinished)
    assert of_type(again, PlanMade)[0].first_step == 5
    assert _weights(layout) == _weights(whole)


def test_rows_that_turn_out_unfit_end_the_run_with_everything_saved(
    tmp_path: Path, tiny_base: Path, chats: Path, waiting: Waiting
) -> None:
    waiting.error = DatasetInvalid("Row 119 must not be learnt.", "Leave it out.", code="bad")
    layout = build_run(tmp_path / "runs" / "one", tiny_base, chats, steps=STEPS)
    control = ScriptedControl(layout)
    control.at(waiting.end_after(4), Stop())
    with pytest.raises(DatasetInvalid, match="Row 119"):
        train_run(layout, control)
    seen = control.seen
    assert of_type(seen, CheckpointSaved)[-1].step == 4
    assert of_type(seen, AdapterSaved)
    assert not of_type(seen, RunStopped)


def test_stop_while_rows_are_read_ends_at_once(
    tmp_path: Path, tiny_base: Path, chats: Path
) -> None:
    layout, events = _run(
        tmp_path / "a", tiny_base, chats, lambda seen: bool(of_type(seen, PhaseEntered))
    )
    assert isinstance(events[-1], RunStopped)
    assert not of_type(events, StepFinished)
    assert not list(tmp_path.rglob(".part-*"))
    assert not layout.adapter.exists()


def test_a_run_of_an_earlier_version_goes_on_with_all_rows_prepared_first(
    tmp_path: Path, tiny_base: Path, chats: Path, waiting: Waiting
) -> None:
    layout, _ = _run(
        tmp_path / "old", tiny_base, chats, lambda seen: len(of_type(seen, StepFinished)) == 3
    )
    manifest = json.loads(layout.manifest.read_text())
    del manifest["preparation"]
    layout.manifest.write_text(json.dumps(manifest))
    events = _go_on(layout)
    (data,) = of_type(events, DataPrepared)
    assert not data.is_estimate
