"""Which process owns a run, whether it still lives, and what it means when it does not."""

from __future__ import annotations

import logging
import os
import platform
import time
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from studio.core.errors import RunConflict
from studio.core.files import read_shared, remove, write_atomically
from studio.core.locks import held_exclusively
from studio.core.runs.layout import RunLayout
from studio.core.runs.record import RunFailure, RunRecord

_LOG = logging.getLogger(__name__)
_CLOCK_SLACK_SECONDS = 2.0
_REMOTE_SILENCE_SECONDS = 600.0
_START_SECONDS = 60.0


class ProcessMark(BaseModel):
    """One process, told apart from a later one with the same number; frozen.

    ``start_ticks`` (Linux) counts from the start of the machine and does not move when somebody
    sets the clock, unlike ``create_time`` (Unix seconds).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    process_id: int
    create_time: float
    host: str
    start_ticks: int | None = None
    control_offset: int = 0
    run_id: str = ""

    def is_same_process(self, other: ProcessMark) -> bool:
        """Whether both marks mean one process."""
        if (self.process_id, self.host) != (other.process_id, other.host):
            return False
        if self.start_ticks is not None and other.start_ticks is not None:
            return self.start_ticks == other.start_ticks
        return abs(self.create_time - other.create_time) <= _CLOCK_SLACK_SECONDS

    def is_alive(self) -> bool:
        """Whether the process still runs on this machine; a process of another one does not."""
        found = find_mark(self.process_id)
        return found is not None and self.is_same_process(found)


def find_mark(process_id: int) -> ProcessMark | None:
    """Returns the mark of a process that runs on this machine, or None if there is none."""
    try:
        process = psutil.Process(process_id)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return ProcessMark(
            process_id=process_id,
            create_time=process.create_time(),
            host=platform.node(),
            start_ticks=_read_start_ticks(process_id),
        )
    except psutil.AccessDenied:
        # It runs, but it belongs to somebody else: surely not a process of ours.
        return None
    except psutil.NoSuchProcess:
        return None


def read_mark(path: Path) -> ProcessMark | None:
    """Returns the mark saved at ``path``, or None if there is none that can be read."""
    try:
        return ProcessMark.model_validate_json(read_shared(path))
    except (OSError, ValidationError):
        return None


def write_mark(path: Path, mark: ProcessMark) -> None:
    """Replaces the mark saved at ``path``.

    Raises:
        FileUnusable: The folder is missing or not writable.
    """
    write_atomically(path, mark.model_dump_json(indent=2) + "\n")


def remove_mark(path: Path) -> None:
    """Deletes the mark of this process saved at ``path``.

    Others look at it several times a second, and Windows deletes no file that is being read. Where
    it cannot be deleted it stays; it means nothing any more when this process has ended.
    """
    try:
        remove(path)
    except OSError as error:
        _LOG.warning("%s stays until this process ends: %s", path, error)


def find_owner(layout: RunLayout) -> ProcessMark | None:
    """Returns the living process that owns the run, or None.

    A process of another machine (the folder lies on a shared drive) counts as alive while
    something was written to the journal in the last ten minutes.
    """
    owner = read_mark(layout.owner)
    if owner is None:
        return None
    if owner.host != platform.node() and _is_recent(layout):
        return owner
    return owner if owner.is_alive() else None


def is_alive(layout: RunLayout) -> bool:
    """Whether a living process owns the run."""
    return find_owner(layout) is not None


def claim(layout: RunLayout) -> ProcessMark:
    """Makes this process the owner of the run; returns its mark.

    A claim by the process itself, or by its parent on its behalf (a launcher), is taken over.

    Raises:
        RunConflict: Another living process owns the run.
        FileUnusable: The run's folder is missing or not writable.
    """
    with held_exclusively(layout.owner):
        mark = _get_own_mark()
        owner = find_owner(layout)
        if owner is None:
            mark = mark.model_copy(update={"control_offset": get_control_size(layout)})
        elif owner.process_id in {os.getpid(), os.getppid()} and owner.host == mark.host:
            mark = mark.model_copy(update={"control_offset": owner.control_offset})
        else:
            raise get_conflict(layout, owner)
        write_mark(layout.owner, mark)
        return mark


def release(layout: RunLayout) -> None:
    """Gives the run back if this process owns it."""
    with held_exclusively(layout.owner):
        owner = read_mark(layout.owner)
        if owner is not None and owner.is_same_process(_get_own_mark()):
            remove_mark(layout.owner)


def get_conflict(layout: RunLayout, owner: ProcessMark) -> RunConflict:
    """Returns the error that says who owns the run."""
    place = "" if owner.host == platform.node() else f" on {owner.host}"
    return RunConflict(
        f"The run {layout.folder.name} is already being worked on by process "
        f"{owner.process_id}{place}.",
        "Stop it first, or watch it in the window.",
    )


def get_control_size(layout: RunLayout) -> int:
    """Returns how many bytes of requests are there now: those of earlier attempts."""
    return layout.control.stat().st_size if layout.control.exists() else 0


def status_of(record: RunRecord, layout: RunLayout, *, was_alive: bool | None = None) -> RunRecord:
    """Returns the record, as interrupted if its process ended without a word.

    The journal of a killed process ends as if it still ran; only the process itself tells.
    ``was_alive`` is the answer of ``is_alive`` from before the journal was read: asked only
    afterwards, a process that has just written its last word would seem to have died.
    """
    if record.is_over or (is_alive(layout) if was_alive is None else was_alive):
        return record
    if record.attempt or layout.owner.exists() or record.is_active:
        failure = build_death_failure(record)
    elif time.time() - record.created_seconds > _START_SECONDS:
        failure = RunFailure(
            code="job_died",
            message="The run was set up but never started.",
            remedy="Press Resume to start it.",
        )
    else:
        return record
    return record.model_copy(
        update={
            "status": "interrupted",
            "failure": failure,
            "phase": None,
            "phase_detail": "",
            "queued_behind": None,
            "process_id": None,
            "eta_seconds": None,
            "finished_seconds": record.updated_seconds,
        }
    )


def build_death_failure(record: RunRecord, exit_code: int | None = None) -> RunFailure:
    """Returns what happened and what is saved when the process of a run is gone.

    ``exit_code`` is what the system said, if we were its parent; negative: ended by that signal.
    """
    subject = "The training process" if record.kind == "train" else f"The {record.kind} process"
    message = f"{subject} ended without a word - {_explain(exit_code)}."
    if record.kind != "train":
        return RunFailure(code="job_died", message=message, remedy="Start it again.")
    if record.last_checkpoint_step is None:
        return RunFailure(
            code="job_died",
            message=f"{message} No checkpoint was saved yet.",
            remedy="Press Resume to start again from the beginning.",
        )
    saved = f"{record.last_checkpoint_step:,}"
    saved += " steps" if record.total_steps is None else f" of {record.total_steps:,} steps"
    return RunFailure(
        code="job_died",
        message=f"{message} {saved} are saved.",
        remedy="Press Resume to go on from there.",
    )


def _explain(exit_code: int | None) -> str:
    if exit_code in {-9, 137}:
        return "it was killed, most often because the machine ran out of memory"
    if exit_code in {-11, 139, -1073741819, 3221225477}:
        return "a driver or library it uses crashed"
    return "it was killed or the machine restarted"


def _get_own_mark() -> ProcessMark:
    mark = find_mark(os.getpid())
    if mark is None:
        raise RunConflict("The system does not tell about this process.", "Start the run again.")
    return mark


def _read_start_ticks(process_id: int) -> int | None:
    try:
        content = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None  # not Linux
    # The name of the program may hold spaces and brackets; field 22 counts from behind it.
    return int(content.rpartition(")")[2].split()[19])


def _is_recent(layout: RunLayout) -> bool:
    newest = max(
        (path.stat().st_mtime for path in (layout.events, layout.owner) if path.exists()),
        default=0.0,
    )
    return time.time() - newest < _REMOTE_SILENCE_SECONDS
