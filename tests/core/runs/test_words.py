"""What a run's page says: every ending, every phase, every fact in the log."""

from __future__ import annotations

import pytest

from studio.core.events import types
from studio.core.events.types import Event
from studio.core.runs.fold import fold_all
from studio.core.runs.record import RunFailure, RunRecord
from studio.core.runs.words import (
    describe_event,
    describe_outcome,
    describe_phase,
    describe_rest,
    describe_saved,
)

STARTED = types.JobStarted(kind="train", process_id=7, attempt=1)
PLAN = types.PlanMade(total_steps=40, steps_per_epoch=20)


def _step(step: int, loss: float) -> Event:
    return types.StepFinished(
        step=step,
        epoch=step / 20,
        loss=loss,
        learning_rate=1e-3,
        gradient_norm=1.0,
        supervised_tokens=10,
        tokens=20,
        seconds=0.5,
    )


def _record(*events: Event) -> RunRecord:
    return fold_all(RunRecord(name="tone"), [STARTED, PLAN, *events])


def test_a_finished_run_tells_its_losses_and_its_best_step() -> None:
    record = _record(
        _step(1, 3.5),
        types.ValidationFinished(step=1, loss=2.5, supervised_tokens=9, is_best=True, seconds=1),
        _step(2, 1.25),
        types.AdapterSaved(step=1, folder="adapter", is_best=True),
        types.RunFinished(step=2),
    )
    outcome = describe_outcome(record)
    assert outcome is not None
    assert outcome.title == "Training finished"
    assert "from 3.5" in outcome.happened
    assert "to 1.25" in outcome.happened
    assert "2.5" in outcome.happened
    assert outcome.saved == "The adapter of step 1 is saved."


def test_an_early_end_says_why() -> None:
    outcome = describe_outcome(_record(types.RunFinished(step=9, reason="early_stopped")))
    assert outcome is not None
    assert "stopped improving" in outcome.happened


def test_a_stopped_run_says_where_resume_goes_on() -> None:
    saved = types.CheckpointSaved(step=2, folder="step-2")
    record = _record(_step(1, 3.0), _step(2, 2.0), saved, types.RunStopped(step=2))
    outcome = describe_outcome(record)
    assert outcome is not None
    assert "after step 2 of 40" in outcome.happened
    assert "exactly there" in outcome.saved


@pytest.mark.parametrize(("steps", "words"), [(3, "repeats 1 step."), (5, "repeats 3 steps.")])
def test_what_resume_repeats_is_counted(steps: int, words: str) -> None:
    saved = types.CheckpointSaved(step=2, folder="step-2")
    later = [_step(step, 1.0) for step in range(3, steps + 1)]
    failed = types.RunFailed(code="job_died", message="It died.", remedy="Resume.")
    record = _record(_step(1, 3.0), _step(2, 2.0), saved, *later, failed)
    assert words in describe_saved(record)


def test_a_failure_tells_what_and_what_to_do() -> None:
    failed = types.RunFailed(code="disk_full", message="The disk is full.", remedy="Free space.")
    outcome = describe_outcome(_record(failed))
    assert outcome is not None
    assert outcome.title == "Training failed"
    assert outcome.happened == "The disk is full. Free space."
    assert outcome.saved.startswith("Nothing was saved yet")


def test_an_interrupted_run_does_not_say_the_same_twice() -> None:
    failure = RunFailure(code="job_died", message="It was killed.", remedy="Press Resume.")
    record = _record().model_copy(update={"status": "interrupted", "failure": failure})
    outcome = describe_outcome(record)
    assert outcome is not None
    assert (outcome.title, outcome.happened) == ("Training was interrupted", "It was killed.")
    silent = describe_outcome(record.model_copy(update={"failure": None}))
    assert silent is not None
    assert "without saying why" in silent.happened


def test_a_run_at_work_has_no_outcome() -> None:
    assert describe_outcome(_record(_step(1, 3.0))) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "queued"}, "Getting ready"),
        ({"status": "queued", "queued_behind": "other"}, "other is using it"),
        ({"status": "paused"}, "Paused"),
        ({"status": "running", "phase": "loading_model"}, "Loading the model"),
        ({"status": "running", "phase": None}, "Training"),
        ({"status": "finished", "phase": "saving"}, "Finished"),
    ],
)
def test_each_state_has_its_words(changes: dict[str, object], words: str) -> None:
    assert words in describe_phase(_record().model_copy(update=changes))


def test_the_rest_is_told_only_while_it_is_known() -> None:
    record = _record().model_copy(update={"status": "running", "eta_seconds": 65.0})
    assert describe_rest(record) == "about 1 min 5 s left"
    assert describe_rest(record.model_copy(update={"status": "paused"})) == ""
    assert describe_rest(record.model_copy(update={"eta_seconds": None})) == ""


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (STARTED, "process 7"),
        (types.JobStarted(kind="train", process_id=7, attempt=3), "attempt 3"),
        (types.JobQueued(behind="tone"), "behind tone"),
        (types.PhaseEntered(phase="loading_data", detail="a.jsonl"), "Reading the data: a.jsonl"),
        (types.RunPaused(step=1200), "step 1,200"),
        (types.RunResumed(step=3), "step 3"),
        (types.RunFinished(step=4, reason="early_stopped"), "early"),
        (types.RunStopped(step=4), "everything is saved"),
        (types.RunStopped(step=0), "Stopped"),
        (types.RunFailed(code="x", message="Why.", remedy="Do."), "Why. Do."),
        (types.NoticeRaised(code="x", severity="warning", message="Odd."), "Warning: Odd."),
        (types.SettingResolved(key="a.b", value="3", why="it fits"), "a.b = 3: it fits"),
        (PLAN, "40 steps, 20 per epoch"),
        (types.PlanMade(total_steps=4, steps_per_epoch=2, first_step=2), "after step 2"),
        (types.CheckpointSaved(step=2, folder="f", bytes=2048), "2.0 KB"),
        (types.AdapterSaved(step=2, folder="adapter"), "adapter saved"),
        (types.ExportFinished(folder="f", files=("a", "b"), is_verified=True), "2 files"),
        (types.RequestFailed(request=1, code="x", message="No.", remedy="Do."), "No. Do."),
        (types.DataProblemFound(code="x", message="Cut.", rows=1234), "1,234 rows"),
        (
            types.DataPrepared(
                train_rows=9,
                validation_rows=1,
                train_tokens=100,
                supervised_tokens=40,
                max_tokens=20,
                truncated_rows=2,
                skipped_rows=3,
            ),
            "40 % of them",
        ),
        (
            types.ModelLoaded(
                architecture="Llama",
                parameters=1000,
                trainable_parameters=10,
                adapted_modules=4,
                device="cpu",
                dtype="float32",
            ),
            "trains 10",
        ),
        (
            types.ValidationFinished(
                step=5, loss=1.5, supervised_tokens=9, is_best=True, seconds=1
            ),
            "validation loss 1.5",
        ),
        (
            types.AnswerFinished(
                request=1, column="base", text="Hi", tokens=3, seconds=1, reason="length"
            ),
            "base: 3 tokens",
        ),
    ],
)
def test_each_fact_has_its_line(event: Event, words: str) -> None:
    assert words in (describe_event(event) or "")


def test_a_job_without_steps_does_not_count_them() -> None:
    assert describe_event(types.RunFinished(step=0)) == "Finished"


@pytest.mark.parametrize("event", [_step(1, 2.0), types.PhaseEntered(phase="training")])
def test_facts_that_only_curves_show_have_no_line(event: Event) -> None:
    assert describe_event(event) is None
