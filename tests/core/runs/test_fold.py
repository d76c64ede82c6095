"""What a run's record says after each kind of fact."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.core.events import types
from studio.core.runs.fold import NOTICES_KEPT, fold, fold_all
from studio.core.runs.record import RunRecord
from tests.core.events.test_codec import any_event

STARTED = types.JobStarted(time_seconds=100, kind="train", process_id=7, attempt=1)
PLAN = types.PlanMade(time_seconds=110, total_steps=10, steps_per_epoch=5)


def _step(
    step: int, loss: float = 1.0, seconds: float = 2.0, tokens: int = 100
) -> types.StepFinished:
    return types.StepFinished(
        time_seconds=110 + step,
        step=step,
        epoch=step / 5,
        loss=loss,
        learning_rate=1e-4,
        gradient_norm=0.5,
        supervised_tokens=tokens // 2,
        tokens=tokens,
        seconds=seconds,
    )


# Building a strategy for every type of event takes long on a busy machine, once.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(any_event, max_size=10))
def test_no_order_of_facts_breaks_a_record_and_none_changes_the_one_before(
    events: list[types.Event],
) -> None:
    record = RunRecord(id="a")
    for event in events:
        before = repr(record)
        following = fold(record, event)
        assert repr(record) == before
        record = following
    assert repr(RunRecord.model_validate_json(record.model_dump_json())) == repr(record)


def test_a_run_goes_through_its_states() -> None:
    stations = [
        (types.JobQueued(behind="other"), "queued", None),
        (STARTED, "starting", "starting"),
        (types.PhaseEntered(phase="loading_model"), "starting", "loading_model"),
        (types.PhaseEntered(phase="training"), "running", "training"),
        (types.RunPaused(step=1), "paused", "training"),
        (types.RunResumed(step=1), "running", "training"),
        (types.RunStopped(time_seconds=120, step=2), "stopped", None),
        (STARTED.model_copy(update={"attempt": 2}), "starting", "starting"),
        (types.PhaseEntered(phase="training"), "running", "training"),
        (types.RunFinished(time_seconds=130, step=10), "finished", None),
    ]
    record = RunRecord()
    for event, status, phase in stations:
        record = fold(record, event)
        assert (record.status, record.phase) == (status, phase)
    assert (record.started_seconds, record.finished_seconds) == (100, 130)
    assert record.attempt == 2
    assert record.is_over


def test_a_failure_is_kept_in_words_until_the_run_is_started_again() -> None:
    record = fold_all(
        RunRecord(), [STARTED, types.RunFailed(code="x", message="Why.", remedy="Do.")]
    )
    assert record.status == "failed"
    assert record.is_resumable
    assert record.failure is not None
    assert (record.failure.code, record.failure.message, record.failure.remedy) == (
        "x",
        "Why.",
        "Do.",
    )
    assert fold(record, STARTED).failure is None


def test_steps_give_losses_speed_and_remaining_time() -> None:
    slow_first = _step(1, loss=3.0, seconds=60.0)
    record = fold_all(RunRecord(), [STARTED, PLAN, slow_first])
    assert record.eta_seconds == 9 * 60
    record = fold_all(record, [_step(2, loss=2.5), _step(3, loss=2.0), _step(4, loss=1.5)])
    assert (record.first_loss, record.last_loss, record.step) == (3.0, 1.5, 4)
    # The closed form: 100 tokens in 2 seconds, 6 steps left; the warm-up step is forgotten.
    assert record.tokens_per_second == pytest.approx(50)
    assert record.eta_seconds == pytest.approx(12)
    assert record.trained_seconds == 66
    assert record.trained_tokens == 400
    assert record.done_fraction == 0.4
    assert record.status == "running"


def test_the_speed_is_the_recent_one() -> None:
    record = fold_all(RunRecord(), [STARTED, PLAN])
    record = fold_all(record, [_step(step, seconds=1.0) for step in range(1, 100)])
    record = fold_all(record, [_step(step, seconds=4.0) for step in range(100, 220)])
    assert record.tokens_per_second == pytest.approx(25, rel=0.01)


def test_a_loss_that_is_no_number_is_shown_as_it_is() -> None:
    record = fold_all(RunRecord(), [STARTED, PLAN, _step(1, loss=math.nan, seconds=0)])
    assert record.last_loss is not None
    assert math.isnan(record.last_loss)
    assert record.tokens_per_second is None


def test_going_on_from_a_checkpoint_forgets_what_was_measured_on_lost_steps() -> None:
    best = types.ValidationFinished(step=6, loss=1, supervised_tokens=1, is_best=True, seconds=1)
    record = fold_all(RunRecord(), [STARTED, PLAN, *map(_step, range(1, 8)), best])
    assert (record.best_step, record.best_validation_loss) == (6, 1)
    again = fold_all(record, [STARTED, PLAN.model_copy(update={"first_step": 5})])
    assert (again.step, again.epoch, again.best_step) == (5, 1.0, None)
    assert again.first_loss == record.first_loss
    kept = fold_all(record, [STARTED, PLAN.model_copy(update={"first_step": 6})])
    assert kept.best_step == 6


def test_only_the_best_validation_moves_the_best_step() -> None:
    losses = [(2, 2.0, True), (4, 2.5, False)]
    record = fold_all(
        RunRecord(),
        [
            types.ValidationFinished(
                step=step, loss=loss, supervised_tokens=1, is_best=is_best, seconds=1
            )
            for step, loss, is_best in losses
        ],
    )
    assert (record.validation_loss, record.best_validation_loss, record.best_step) == (2.5, 2.0, 2)


def test_facts_about_files_memory_model_and_data_are_remembered() -> None:
    record = fold_all(
        RunRecord(),
        [
            types.ModelLoaded(
                architecture="Llama",
                parameters=1000,
                trainable_parameters=10,
                adapted_modules=2,
                device="cpu",
                dtype="float32",
            ),
            types.DataPrepared(
                train_rows=1,
                validation_rows=0,
                train_tokens=9,
                supervised_tokens=4,
                max_tokens=9,
            ),
            types.SettingResolved(key="data.max_tokens", value="9", why="first"),
            types.SettingResolved(key="data.max_tokens", value="8", why="second"),
            types.MemoryMeasured(step=1, device="cpu", used_bytes=5, peak_bytes=9),
            types.MemoryMeasured(step=2, device="cpu", used_bytes=6, peak_bytes=7),
            types.CheckpointSaved(step=5, folder="c5", is_best=True),
            types.CheckpointSaved(step=6, folder="c6"),
            types.AdapterSaved(step=6, folder="adapter"),
            types.SampleAnswered(step=6, prompt="p", source="base", answer="a"),
        ],
    )
    assert (record.parameters, record.trainable_parameters) == (1000, 10)
    assert record.data is not None
    assert [setting.value for setting in record.settings] == ["8"]
    assert (record.used_memory_bytes, record.peak_memory_bytes) == (6, 9)
    assert (record.last_checkpoint_step, record.last_checkpoint_folder) == (6, "c6")
    assert record.best_checkpoint_folder == "c5"
    assert (record.adapter_folder, record.adapter_step) == ("adapter", 6)
    assert len(record.samples) == 1


def test_lists_that_grow_with_the_run_are_bounded() -> None:
    notices = [types.NoticeRaised(code="n", message=str(number)) for number in range(500)]
    record = fold_all(RunRecord(), notices)
    assert len(record.notices) == NOTICES_KEPT
    assert record.notices[-1].message == "499"


def test_a_record_without_model_or_plan_says_that_it_does_not_know() -> None:
    record = RunRecord()
    assert (record.parameters, record.trainable_parameters, record.done_fraction) == (None,) * 3
    assert not record.is_active
    assert fold(record, types.ChatReady(columns=("base",))).is_active
