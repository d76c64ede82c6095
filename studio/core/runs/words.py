"""What happened in a run, in words for people: states, phases, log lines and endings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from studio.core.events import types
from studio.core.programs.words import describe_hand_over
from studio.core.runs.incidents import INCIDENT_TYPES, describe_incident
from studio.core.runs.record import RunRecord, Status
from studio.core.units import (
    format_bytes,
    format_count,
    format_duration,
    format_fraction,
    format_loss,
    format_things,
)

STATUS_WORDS: dict[Status, str] = {
    "queued": "Waiting",
    "starting": "Preparing",
    "running": "Training",
    "paused": "Paused",
    "finished": "Finished",
    "stopped": "Stopped",
    "failed": "Failed",
    "interrupted": "Interrupted",
}

PHASE_WORDS: dict[types.Phase, str] = {
    "starting": "Starting",
    "loading_data": "Reading the data",
    "loading_model": "Loading the model",
    "downloading": "Downloading",
    "training": "Training",
    "validating": "Measuring the validation loss",
    "saving": "Saving",
    "finishing": "Finishing",
}

_REASONS = {
    "end_of_turn": "complete",
    "length": "cut at the longest length",
    "stopped": "stopped",
    "failed": "failed",
}


@dataclass(frozen=True)
class Outcome:
    """How a run ended: one title, what happened, and what is safely on disk."""

    title: str
    happened: str
    saved: str


def describe_state(record: RunRecord) -> str:
    """Returns the state of a run in one word for lists, such as ``Finished`` or ``Imported``."""
    if record.is_imported and record.status == "finished":
        return "Imported"
    return STATUS_WORDS[record.status]


def describe_phase(record: RunRecord) -> str:
    """Returns what a run is doing now, such as ``Loading the model``."""
    if record.status == "queued":
        if not record.queued_behind:  # its process has not said a word yet
            return "Getting ready"
        return f"Waiting for the graphics card: {record.queued_behind} is using it"
    if record.status == "paused":
        return "Paused"
    if record.phase is None or record.is_over:
        return STATUS_WORDS[record.status]
    return PHASE_WORDS[record.phase]


def describe_outcome(record: RunRecord) -> Outcome | None:
    """Returns how a run ended, or None while it has not."""
    if record.status == "finished":
        return Outcome("Training finished", _describe_finish(record), describe_saved(record))
    if record.status == "stopped":
        happened = f"You stopped the run after step {record.step:,}{_of_total(record)}."
        return Outcome("Training stopped", happened, describe_saved(record))
    if record.status in ("failed", "interrupted"):
        is_failed = record.status == "failed"
        title = "Training failed" if is_failed else "Training was interrupted"
        return Outcome(title, _describe_failure(record), describe_saved(record))
    return None


def describe_saved(record: RunRecord) -> str:
    """Returns what of a run is on disk and what Resume would repeat."""
    step = record.last_checkpoint_step
    if record.status == "finished":
        if record.adapter_step is None:
            return "The adapter is saved in the folder of the run."
        return f"The adapter of step {record.adapter_step:,} is saved."
    if step is None:
        return "Nothing was saved yet: Resume starts again from the beginning."
    lost = max(0, record.step - step)
    if lost == 0:
        return f"Everything up to step {step:,} is saved. Resume goes on exactly there."
    word = "step" if lost == 1 else "steps"
    return (
        f"Everything up to step {step:,} is saved. Resume goes on from there and repeats "
        f"{lost:,} {word}."
    )


def describe_event(event: types.Event) -> str | None:
    """Returns one log line without the time, or None for facts that only curves show."""
    describe = _LINES.get(type(event))
    return None if describe is None else describe(event)


def _describe_failure(record: RunRecord) -> str:
    failure = record.failure
    if failure is None:
        return "The program that trained ended without saying why."
    if failure.code == "job_died":
        return failure.message  # its remedy says the same as what is saved
    return _with_remedy(failure.message, failure.remedy)


def _of_total(record: RunRecord) -> str:
    return f" of {record.total_steps:,}" if record.total_steps else ""


def _describe_finish(record: RunRecord) -> str:
    if record.finish_reason == "early_stopped":
        happened = f"Ended early after step {record.step:,}: the validation loss stopped improving."
    else:
        is_one = record.step == 1
        happened = "The one step is done." if is_one else f"All {record.step:,} steps are done."
    if record.first_loss is not None and record.last_loss is not None:
        happened += (
            f" The training loss went from {format_loss(record.first_loss)} "
            f"to {format_loss(record.last_loss)}."
        )
    if record.best_validation_loss is not None and record.best_step is not None:
        happened += (
            f" The best validation loss is {format_loss(record.best_validation_loss)}, "
            f"at step {record.best_step:,}."
        )
    return happened


def _describe_data(event: types.DataPrepared) -> str:
    share = event.supervised_tokens / event.train_tokens if event.train_tokens else 0.0
    about = "about " if event.is_estimate else ""
    line = (
        f"Data {'read' if event.is_estimate else 'ready'}: "
        f"{format_things(event.train_rows, 'row')} to train on, "
        f"{event.validation_rows:,} to validate; {about}{format_count(event.train_tokens)} "
        f"tokens, {format_fraction(share)} of them "
        f"are learnt; longest example {format_things(event.max_tokens, 'token')}"
    )
    if event.truncated_rows:
        line += f"; {about}{_count_rows(event.truncated_rows)} cut"
    if event.skipped_rows:
        line += f"; {_count_rows(event.skipped_rows)} left out"
    return line


def _count_rows(rows: int) -> str:
    return f"{format_things(rows, 'row')} {'was' if rows == 1 else 'were'}"


def _describe_model(event: types.ModelLoaded) -> str:
    share = event.trainable_parameters / event.parameters if event.parameters else 0.0
    return (
        f"Model loaded: {event.architecture}, {format_count(event.parameters)} parameters on "
        f"{event.device} in {event.dtype}; the adapter trains "
        f"{format_count(event.trainable_parameters)} ({format_fraction(share)}) in "
        f"{format_things(event.adapted_modules, 'layer')}"
    )


def _describe_validation(event: types.ValidationFinished) -> str:
    best = " (best so far)" if event.is_best else ""
    return f"Step {event.step:,}: validation loss {format_loss(event.loss)}{best}"


def _describe_checkpoint(event: types.CheckpointSaved) -> str:
    size = f" ({format_bytes(event.bytes)})" if event.bytes else ""
    return f"Step {event.step:,}: everything is saved{size}"


def _describe_plan(event: types.PlanMade) -> str:
    start = f", going on after step {event.first_step:,}" if event.first_step else ""
    steps = format_things(event.total_steps, "step")
    return f"Plan: {steps}, {event.steps_per_epoch:,} per epoch{start}"


def _with_remedy(message: str, remedy: str) -> str:
    return f"{message} {remedy}".strip()


def _describe_phase_event(event: types.PhaseEntered) -> str | None:
    # Training alternates with validation and saving, which have lines of their own.
    if event.phase in ("training", "validating", "saving"):
        return None
    return f"{PHASE_WORDS[event.phase]}{f': {event.detail}' if event.detail else ''}"


def _describe_start(event: types.JobStarted) -> str:
    again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
    return f"Started as process {event.process_id}{again}"


def _describe_end(event: types.RunFinished) -> str:
    if event.step == 0:
        return "Finished"  # an export or another job without steps
    early = event.reason == "early_stopped"
    return f"Finished after step {event.step:,}{', early: no further improvement' if early else ''}"


def _describe_answer(event: types.AnswerFinished) -> str:
    return f"{event.column}: {format_things(event.tokens, 'token')}, {_REASONS[event.reason]}"


_LINES: dict[type[types.Event], Callable[[Any], str | None]] = {
    **dict.fromkeys(INCIDENT_TYPES, lambda event: str(describe_incident(event))),
    types.JobStarted: _describe_start,
    types.JobQueued: lambda event: f"Waiting for the graphics card behind {event.behind}",
    types.PhaseEntered: _describe_phase_event,
    types.RunPaused: lambda event: f"Paused at step {event.step:,}",
    types.RunResumed: lambda event: f"Going on at step {event.step:,}",
    types.RunFinished: _describe_end,
    types.RunStopped: lambda event: (
        f"Stopped after step {event.step:,}; everything is saved" if event.step else "Stopped"
    ),
    types.RunFailed: lambda event: f"Failed: {_with_remedy(event.message, event.remedy)}",
    types.NoticeRaised: lambda event: (
        f"{event.severity.capitalize()}: {_with_remedy(event.message, event.remedy)}"
    ),
    types.SettingResolved: lambda event: f"Chose {event.key} = {event.value}: {event.why}",
    types.DataPrepared: _describe_data,
    types.ModelLoaded: _describe_model,
    types.PlanMade: _describe_plan,
    types.ValidationFinished: _describe_validation,
    types.CheckpointSaved: _describe_checkpoint,
    types.AdapterSaved: lambda event: f"Step {event.step:,}: adapter saved in {event.folder}",
    types.AnswerFinished: _describe_answer,
    types.ExportFinished: lambda event: (
        f"Exported {format_things(len(event.files), 'file')} to {event.folder}"
    ),
    types.PushFinished: lambda event: f"Uploaded to {event.url}",
    types.HandedOver: lambda event: describe_hand_over(event).message,
    types.RunImported: lambda event: f"Imported from {event.source}",
    types.ImportFinished: lambda event: f"Imported as {event.name} into {event.folder}",
    types.DownloadFinished: lambda event: (
        f"Downloaded {event.name}: {format_bytes(event.total_bytes)} in {event.folder}"
    ),
    types.RequestFailed: lambda event: _with_remedy(event.message, event.remedy),
    types.DataProblemFound: lambda event: (
        f"{_with_remedy(event.message, event.remedy)} ({format_things(event.rows, 'row')})"
    ),
}


def describe_rest(record: RunRecord) -> str:
    """Returns how long a run still needs, such as ``about 3 min 20 s left``; empty if unknown."""
    if record.eta_seconds is None or record.is_over or record.status == "paused":
        return ""
    return f"about {format_duration(record.eta_seconds)} left"
