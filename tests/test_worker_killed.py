"""A worker that is killed at any moment leaves nothing broken, and the run goes on."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from safetensors.torch import load_file

from studio.core.events.tail import EventTail
from studio.core.events.types import (
    CheckpointSaved,
    Event,
    JobStarted,
    PlanMade,
    RunFinished,
    StepFinished,
)
from studio.core.runs.layout import RunLayout
from studio.engine.train.checkpoint import find_checkpoints
from studio.worker import main
from tests.engine.tiny_run import build_base, build_run, of_type, write_chats

KILLS = 25
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs a fork server to be quick"),
]


def _start(layout: RunLayout) -> ForkServerProcess:
    # A fork server that has imported the engine once: 25 starts cost seconds, not minutes.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["studio.engine.jobs.train", "studio.worker"])
    process = context.Process(target=_work, args=(str(layout.folder),))
    process.start()
    return process


def _work(folder: str) -> None:
    sys.exit(main([folder]))


def _check_folder(layout: RunLayout) -> None:
    """Every checkpoint that has its name must be readable as a whole."""
    for folder in layout.checkpoints.iterdir() if layout.checkpoints.exists() else []:
        if folder.name.startswith("step-"):
            assert folder in find_checkpoints(layout.checkpoints)
            load_file(folder / "adapter_model.safetensors")
            load_file(folder / "training_state.safetensors")


def _split_attempts(events: list[Event]) -> list[list[Event]]:
    attempts: list[list[Event]] = []
    for event in events:
        if isinstance(event, JobStarted):
            attempts.append([])
        attempts[-1].append(event)
    return attempts


def _read_until_planned(tail: EventTail, process: ForkServerProcess) -> list[Event]:
    events: list[Event] = []
    while not of_type(events, PlanMade):
        assert process.is_alive()
        events += tail.read()
        process.join(0.005)
    return events


def test_killed_at_random_moments_it_repeats_only_what_was_not_saved(tmp_path: Path) -> None:
    base = build_base(tmp_path / "base")
    chats = write_chats(tmp_path / "chats.jsonl")
    layout = build_run(
        tmp_path / "run",
        base,
        chats,
        steps=100_000,
        evaluate_every_steps=7,
        early_stopping_patience=0,
        checkpoint_every_minutes=0.001,
        schedule="constant",
        warmup_fraction=0.0,
        learning_rate=1e-3,
        adapter={"dropout": 0.1},
    )
    tail = EventTail(layout.events)
    moments = random.Random(1)
    journal: list[Event] = []
    for attempt in range(KILLS):
        process = _start(layout)
        if attempt % 5:  # every fifth dies anywhere from its start on
            journal += _read_until_planned(tail, process)
        process.join(moments.uniform(0.0, 0.5))
        assert process.is_alive()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        _check_folder(layout)
    journal += tail.read()
    _finish(layout)
    journal += tail.read()
    assert isinstance(journal[-1], RunFinished)
    _check_history(journal)
    leftovers = [path.name for path in layout.checkpoints.iterdir() if path.name[0] == "."]
    assert leftovers == []


def _finish(layout: RunLayout) -> None:
    """Shortens the run so that it ends soon, and lets it end."""
    last = find_checkpoints(layout.checkpoints)[-1]
    steps = int(last.name.removeprefix("step-")) + 5
    text = layout.recipe.read_text().replace("steps: 100000", f"steps: {steps}")
    layout.recipe.write_text(text)
    process = _start(layout)
    process.join()
    assert process.exitcode == 0


def _check_history(journal: list[Event]) -> None:
    losses: dict[int, float] = {}
    saved = 0
    repeated = 0
    for attempt in _split_attempts(journal):
        plans = of_type(attempt, PlanMade)
        if plans:
            # It may go on even later: a checkpoint can be complete before its fact is written.
            assert plans[0].first_step >= saved
            steps = [event.step for event in of_type(attempt, StepFinished)]
            first = plans[0].first_step + 1
            assert steps == list(range(first, first + len(steps)))
        for event in of_type(attempt, StepFinished):
            repeated += event.step in losses
            assert losses.setdefault(event.step, event.loss) == event.loss
        saved = max([saved, *(event.step for event in of_type(attempt, CheckpointSaved))])
    assert saved > 0
    assert repeated > 0
    assert sorted(losses) == list(range(1, max(losses) + 1))
