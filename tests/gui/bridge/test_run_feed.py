from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from studio.core.events.types import CheckpointSaved, StepFinished
from studio.core.recipe.schema import Recipe
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import is_alive
from studio.core.runs.store import RunStore
from studio.gui.bridge.background import Background
from studio.gui.bridge.job_thread import BATCH_SECONDS
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed
from tests.gui.fake_child import BURST_STEPS
from tests.gui.playing import TIMEOUT_MS, Play


def wait_for(qtbot: QtBot, is_true: Callable[[], bool]) -> None:
    qtbot.waitUntil(is_true, timeout=TIMEOUT_MS)


def run_to_end(qtbot: QtBot, feed: RunFeed, recipe: Recipe, tmp_path: Path) -> LiveJob:
    with qtbot.waitSignal(feed.run_ended, timeout=TIMEOUT_MS):
        return feed.start(recipe, tmp_path)


def test_a_short_run_is_told_from_start_to_finish(
    qtbot: QtBot, feed: RunFeed, recipe: Recipe, play: Play, tmp_path: Path
) -> None:
    play("short")
    seen: list[object] = []
    with qtbot.waitSignal(feed.run_ended, timeout=TIMEOUT_MS) as ended:
        run = feed.start(recipe, tmp_path)
        run.events_arrived.connect(seen.extend)
    assert ended.args[0].status == "finished"
    assert ended.args[0].name == "fake run"
    assert [event.step for event in seen if isinstance(event, StepFinished)] == [1, 2, 3]
    assert run.curves is not None
    assert run.curves.steps.tolist() == [1, 2, 3]
    assert feed.alive_runs == []


def test_a_burst_of_events_arrives_whole_and_at_most_ten_times_a_second(
    qtbot: QtBot, feed: RunFeed, recipe: Recipe, play: Play, tmp_path: Path
) -> None:
    play("burst")
    arrivals: list[float] = []
    steps: list[int] = []

    def note(events: list[object]) -> None:
        arrivals.append(time.monotonic())
        steps.extend(event.step for event in events if isinstance(event, StepFinished))

    with qtbot.waitSignal(feed.run_ended, timeout=TIMEOUT_MS):
        run = feed.start(recipe, tmp_path)
        began = time.monotonic()
        run.events_arrived.connect(note)
    took = time.monotonic() - began
    assert steps == list(range(1, BURST_STEPS + 1))
    assert len(arrivals) <= took / BATCH_SECONDS + 2


def test_a_child_that_dies_in_the_middle_of_a_line_becomes_an_interrupted_run_with_words(
    qtbot: QtBot, feed: RunFeed, recipe: Recipe, play: Play, tmp_path: Path
) -> None:
    play("silent-death")
    run = run_to_end(qtbot, feed, recipe, tmp_path)
    assert run.record.status == "interrupted"
    assert run.record.step == 2
    assert run.record.failure is not None
    assert "1 of 100 steps are saved" in run.record.failure.message
    assert run.record.is_resumable
    assert feed.store.load(RunLayout(Path(run.folder))).status == "interrupted"


def test_a_child_that_never_says_a_word_becomes_an_interrupted_run(
    qtbot: QtBot, feed: RunFeed, recipe: Recipe, play: Play, tmp_path: Path
) -> None:
    play("crash-at-start")
    run = run_to_end(qtbot, feed, recipe, tmp_path)
    assert run.record.status == "interrupted"
    assert run.record.failure is not None
    assert "No checkpoint" in run.record.failure.message


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_kill_minus_nine_is_noticed_and_the_run_can_be_resumed(
    qtbot: QtBot, feed: RunFeed, recipe: Recipe, play: Play, tmp_path: Path
) -> None:
    play("obedient")
    run = feed.start(recipe, tmp_path)
    wait_for(qtbot, lambda: run.record.step >= 2)
    process_id = run.record.process_id
    assert process_id is not None
    with qtbot.waitSignal(feed.run_ended, timeout=TIMEOUT_MS):
        os.kill(process_id, signal.SIGKILL)
    assert run.record.status == "interrupted"
    assert run.record.failure is not None
    assert "out of memory" in run.record.failure.message
    play("short")
    with qtbot.waitSignal(feed.run_ended, timeout=TIMEOUT_MS):
        again = feed.resume(run.folder)
    assert again.record.status == "finished"
    assert feed.find_run(run.folder) is again


def test_pause_go_on_save_and_stop_reach_the_job(
    qtbot: QtBot, feed: RunFeed, recipe: Recipe, play: Play, tmp_path: Path
) -> None:
    play("obedient")
    run = feed.start(recipe, tmp_path)
    wait_for(qtbot, lambda: run.record.status == "running" and run.record.step > 0)
    run.pause()
    wait_for(qtbot, lambda: run.record.status == "paused")
    run.go_on()
    wait_for(qtbot, lambda: run.record.status == "running")
    run.save_now()
    wait_for(qtbot, lambda: run.record.last_checkpoint_step is not None)
    assert any(isinstance(event, CheckpointSaved) for event in run.log)
    with qtbot.waitSignal(feed.run_ended, timeout=TIMEOUT_MS):
        run.stop()
    assert run.record.status == "stopped"


def test_kill_ends_a_job_that_does_not_listen(
    qtbot: QtBot, feed: RunFeed, recipe: Recipe, play: Play, tmp_path: Path
) -> None:
    play("obedient")
    run = feed.start(recipe, tmp_path)
    wait_for(qtbot, lambda: run.record.step > 0)
    with qtbot.waitSignal(feed.run_ended, timeout=TIMEOUT_MS):
        run.kill()
    assert run.record.status == "interrupted"


def test_training_survives_the_window_and_the_next_window_finds_it(
    qtbot: QtBot, store: RunStore, recipe: Recipe, play: Play, tmp_path: Path
) -> None:
    play("obedient")
    background = Background()
    first = RunFeed(store, background)
    run = first.start(recipe, tmp_path)
    wait_for(qtbot, lambda: run.record.step >= 3)
    assert first.close()  # within its own limit of one second per thread
    layout = RunLayout(Path(run.folder))
    assert is_alive(layout)
    second = RunFeed(store, background)
    with qtbot.waitSignal(second.attach_finished, timeout=TIMEOUT_MS):
        second.attach_all()
    (found,) = second.alive_runs
    wait_for(qtbot, lambda: found.record.step > run.record.step)
    assert found.record.name == "fake run"
    with qtbot.waitSignal(second.run_ended, timeout=TIMEOUT_MS):
        found.stop()
    assert found.record.status == "stopped"
    assert second.close()
    assert background.close()


def test_a_run_that_is_at_work_is_not_started_twice(
    qtbot: QtBot, feed: RunFeed, recipe: Recipe, play: Play, tmp_path: Path
) -> None:
    play("obedient")
    run = feed.start(recipe, tmp_path)
    wait_for(qtbot, lambda: run.record.step > 0)
    with qtbot.waitSignal(feed.failed, timeout=TIMEOUT_MS) as failed:
        feed.resume(run.folder)
    assert failed.args[0].code == "run_conflict"
    assert feed.alive_runs == [run]


def test_a_home_that_cannot_be_written_is_told_in_words(
    qtbot: QtBot, feed: RunFeed, recipe: Recipe, play: Play, tmp_path: Path
) -> None:
    play("short")
    (tmp_path / "home").write_text("a file where the folder should be")
    with qtbot.waitSignal(feed.failed, timeout=TIMEOUT_MS) as failed:
        feed.start(recipe, tmp_path)
    assert failed.args[0].remedy
    assert feed.alive_runs == []
