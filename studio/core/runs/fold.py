"""The next record of a run after one more event: pure, no clock, no files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from studio.core.events import types
from studio.core.runs.incidents import INCIDENT_TYPES, INCIDENTS_KEPT, describe_incident
from studio.core.runs.record import IMPORTED, RunFailure, RunRecord, Status

FOLD_VERSION = 1
"""Counts up when the same journal folds to something else; saved folds of before are dropped."""

NOTICES_KEPT = 200
SAMPLES_KEPT = 200
_RECENT_STEPS = 20

Changes = dict[str, object]


def fold(record: RunRecord, event: types.Event) -> RunRecord:
    """Returns the record after ``event``; types without meaning for a record change nothing."""
    change = _FOLDS.get(type(event))
    if change is None:
        return record
    changes: Changes = change(record, event)
    if event.time_seconds:
        changes["updated_seconds"] = event.time_seconds
    return record.model_copy(update=changes)


def fold_all(record: RunRecord, events: Iterable[types.Event]) -> RunRecord:
    """Returns the record after all events, in their order."""
    for event in events:
        record = fold(record, event)
    return record


def _on_job_queued(_: RunRecord, event: types.JobQueued) -> Changes:
    return {"status": "queued", "queued_behind": event.behind, "failure": None}


def _on_job_started(record: RunRecord, event: types.JobStarted) -> Changes:
    return {
        "kind": event.kind,
        "status": "starting",
        "phase": "starting",
        "phase_detail": "",
        "queued_behind": None,
        "attempt": event.attempt,
        "process_id": event.process_id,
        "failure": None,
        "finish_reason": None,
        "started_seconds": record.started_seconds or event.time_seconds or None,
        "finished_seconds": None,
        "eta_seconds": None,
        "measured_steps": 0,
        "versions": event.versions,
    }


def _on_phase_entered(record: RunRecord, event: types.PhaseEntered) -> Changes:
    changes: Changes = {"phase": event.phase, "phase_detail": event.detail, "queued_behind": None}
    if record.status in {"queued", "starting", "running"}:
        is_preparing = event.phase in {"starting", "loading_data", "loading_model"}
        changes["status"] = "starting" if is_preparing else "running"
    return changes


def _on_run_paused(_: RunRecord, event: types.RunPaused) -> Changes:
    return {"status": "paused", "step": event.step}


def _on_run_resumed(_: RunRecord, event: types.RunResumed) -> Changes:
    return {"status": "running", "step": event.step}


def _end(status: Status, event: types.Event) -> Changes:
    return {
        "status": status,
        "phase": None,
        "phase_detail": "",
        "queued_behind": None,
        "process_id": None,
        "eta_seconds": None,
        "finished_seconds": event.time_seconds or None,
    }


def _on_run_finished(_: RunRecord, event: types.RunFinished) -> Changes:
    return {**_end("finished", event), "step": event.step, "finish_reason": event.reason}


def _on_run_stopped(_: RunRecord, event: types.RunStopped) -> Changes:
    return {**_end("stopped", event), "step": event.step}


def _on_run_failed(_: RunRecord, event: types.RunFailed) -> Changes:
    failure = RunFailure(code=event.code, message=event.message, remedy=event.remedy)
    return {**_end("failed", event), "failure": failure}


def _on_notice_raised(record: RunRecord, event: types.NoticeRaised) -> Changes:
    return {"notices": (*record.notices, event)[-NOTICES_KEPT:]}


def _on_incident(record: RunRecord, event: types.Event) -> Changes:
    incident = describe_incident(event)
    if incident is None:
        return {}
    return {"incidents": (*record.incidents, incident)[-INCIDENTS_KEPT:]}


def _on_state_restored(record: RunRecord, event: types.StateRestored) -> Changes:
    changes = _on_incident(record, event) | {"step": event.step}
    if record.best_step is not None and record.best_step > event.step:
        changes.update(best_step=None, best_validation_loss=None, best_checkpoint_folder=None)
    return changes


def _on_setting_resolved(record: RunRecord, event: types.SettingResolved) -> Changes:
    others = (setting for setting in record.settings if setting.key != event.key)
    return {"settings": (*others, event)}


def _on_data_prepared(_: RunRecord, event: types.DataPrepared) -> Changes:
    return {"data": event}


def _on_model_loaded(_: RunRecord, event: types.ModelLoaded) -> Changes:
    return {"model": event, "device": event.device}


def _on_plan_made(record: RunRecord, event: types.PlanMade) -> Changes:
    changes: Changes = {
        "total_steps": event.total_steps,
        "steps_per_epoch": event.steps_per_epoch,
        "first_step": event.first_step,
        "step": event.first_step,
    }
    if event.steps_per_epoch:
        changes["epoch"] = event.first_step / event.steps_per_epoch
    if event.first_step == 0:
        changes.update(first_loss=None, last_loss=None, validation_loss=None)
    if record.best_step is not None and record.best_step > event.first_step:
        # Measured on steps that are lost and will be done again.
        changes.update(best_step=None, best_validation_loss=None, best_checkpoint_folder=None)
    return changes


def _on_step_finished(record: RunRecord, event: types.StepFinished) -> Changes:
    changes: Changes = {
        "step": event.step,
        "epoch": event.epoch,
        "last_loss": event.loss,
        "learning_rate": event.learning_rate,
        "gradient_norm": event.gradient_norm,
        "trained_seconds": record.trained_seconds + event.seconds,
        "trained_tokens": record.trained_tokens + event.tokens,
        "queued_behind": None,
    }
    if record.first_loss is None:
        changes["first_loss"] = event.loss
    if record.status in {"queued", "starting"}:
        changes["status"] = "running"
    if event.seconds > 0:
        changes.update(_measure_speed(record, event))
    return changes


def _measure_speed(record: RunRecord, event: types.StepFinished) -> Changes:
    """Returns speed and remaining time, averaged over about the last twenty steps."""
    count = min(record.measured_steps, _RECENT_STEPS - 1)
    per_step = event.seconds
    tokens = float(event.tokens)
    # The first step of a process warms up (kernels, caches): it counts only until there is another.
    if record.measured_steps > 1 and record.seconds_per_step and record.tokens_per_second:
        earlier = record.seconds_per_step
        per_step = earlier + (event.seconds - earlier) / count
        tokens = earlier * record.tokens_per_second
        tokens += (event.tokens - tokens) / count
    changes: Changes = {
        "measured_steps": record.measured_steps + 1,
        "seconds_per_step": per_step,
        "tokens_per_second": tokens / per_step,
    }
    if record.total_steps is not None:
        changes["eta_seconds"] = max(0, record.total_steps - event.step) * per_step
    return changes


def _on_memory_measured(record: RunRecord, event: types.MemoryMeasured) -> Changes:
    return {
        "device": event.device,
        "used_memory_bytes": event.used_bytes,
        "peak_memory_bytes": max(event.peak_bytes, record.peak_memory_bytes or 0),
        "total_memory_bytes": event.total_bytes or record.total_memory_bytes,
    }


def _on_validation_finished(_: RunRecord, event: types.ValidationFinished) -> Changes:
    changes: Changes = {"validation_loss": event.loss}
    if event.is_best:
        changes.update(best_validation_loss=event.loss, best_step=event.step)
    return changes


def _on_checkpoint_saved(_: RunRecord, event: types.CheckpointSaved) -> Changes:
    changes: Changes = {
        "last_checkpoint_step": event.step,
        "last_checkpoint_folder": event.folder,
    }
    if event.is_best:
        changes["best_checkpoint_folder"] = event.folder
    return changes


def _on_adapter_saved(_: RunRecord, event: types.AdapterSaved) -> Changes:
    return {"adapter_folder": event.folder, "adapter_step": event.step}


def _on_run_imported(record: RunRecord, event: types.RunImported) -> Changes:
    return {
        **_end("finished", event),
        "kind": IMPORTED,
        "failure": None,
        "finished_seconds": record.finished_seconds or event.time_seconds or None,
        "adapter_folder": "adapter",
        # The checkpoints stayed where the run was trained.
        "last_checkpoint_step": None,
        "last_checkpoint_folder": None,
        "best_checkpoint_folder": None,
    }


def _on_sample_answered(record: RunRecord, event: types.SampleAnswered) -> Changes:
    return {"samples": (*record.samples, event)[-SAMPLES_KEPT:]}


def _on_chat_ready(_: RunRecord, __: types.ChatReady) -> Changes:
    return {"status": "running", "phase": None, "phase_detail": ""}


_FOLDS: dict[type[types.Event], Callable[[RunRecord, Any], Changes]] = {
    **dict.fromkeys(INCIDENT_TYPES, _on_incident),
    types.StateRestored: _on_state_restored,
    types.StepFinished: _on_step_finished,
    types.MemoryMeasured: _on_memory_measured,
    types.ValidationFinished: _on_validation_finished,
    types.JobStarted: _on_job_started,
    types.JobQueued: _on_job_queued,
    types.PhaseEntered: _on_phase_entered,
    types.RunPaused: _on_run_paused,
    types.RunResumed: _on_run_resumed,
    types.RunFinished: _on_run_finished,
    types.RunStopped: _on_run_stopped,
    types.RunFailed: _on_run_failed,
    types.NoticeRaised: _on_notice_raised,
    types.SettingResolved: _on_setting_resolved,
    types.DataPrepared: _on_data_prepared,
    types.ModelLoaded: _on_model_loaded,
    types.PlanMade: _on_plan_made,
    types.CheckpointSaved: _on_checkpoint_saved,
    types.AdapterSaved: _on_adapter_saved,
    types.RunImported: _on_run_imported,
    types.SampleAnswered: _on_sample_answered,
    types.ChatReady: _on_chat_ready,
}
