"""Child processes that outlive the window: started, found again, waited for, ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress

import psutil

from studio.core.errors import FileUnusable, JobDied
from studio.core.files import get_file_error, write_atomically
from studio.core.jobs.command import build_command, build_environment
from studio.core.jobs.orders import AnyOrder, order_type
from studio.core.locks import held_exclusively
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import (
    ProcessMark,
    find_mark,
    find_owner,
    get_conflict,
    get_control_size,
    write_mark,
)

UNKNOWN_EXIT = -1
"""Stands for the exit code of a process that is not our child: the system tells only parents."""

_PAUSE_SECONDS = 0.02
_KILL_SECONDS = 10.0
_POLITE_LEVEL = 5


class JobProcess:
    """One worker process, our own child or one that an earlier window started."""

    def __init__(self, mark: ProcessMark, child: subprocess.Popen[bytes] | None = None) -> None:
        self._mark = mark
        self._child = child

    @property
    def process_id(self) -> int:
        """The number the system gave to the process."""
        return self._mark.process_id

    def poll(self) -> int | None:
        """Returns None while the process runs, then its exit code.

        Negative codes of our own children name the signal that ended them; ``UNKNOWN_EXIT`` stands
        for the code of a process that is not our child.
        """
        if self._child is not None:
            return self._child.poll()
        return None if self._mark.is_alive() else UNKNOWN_EXIT

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Returns the exit code, or None if the process still runs after ``timeout_seconds``."""
        if self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                return self._child.wait(timeout_seconds)
            return None
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                return None
            time.sleep(_PAUSE_SECONDS)
        return code

    def kill(self) -> None:
        """Ends the process and its own children at once; what was not saved is lost."""
        if self.poll() is not None:
            return
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.process_id)
            family = [*process.children(recursive=True), process]
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            psutil.wait_procs(family[:-1], timeout=_KILL_SECONDS)
        self.wait(_KILL_SECONDS)

    def release(self) -> None:
        """Lets go of the process without ending it: it goes on when this program ends."""
        if self._child is not None and self._child.poll() is None:
            # Popen warns about children that still run when it is dropped; this one should.
            self._child.returncode = UNKNOWN_EXIT
        self._child = None


def start_job(
    layout: RunLayout,
    order: AnyOrder | None = None,
    *,
    processes: int = 1,
    is_polite: bool = False,
) -> JobProcess:
    """Starts the worker of a run as a process of its own; an ``order`` is written to ``job.json``.

    The process outlives this program, reads nothing, and appends all it prints to the run's log.
    ``is_polite`` gives it less processor time than programs in the foreground.

    Raises:
        RunConflict: A living process owns the run already.
        FileUnusable: The run's folder is not writable.
        JobDied: The system refused to start the process.
    """
    try:
        layout.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise get_file_error(layout.folder, error) from error
    with held_exclusively(layout.owner):
        owner = find_owner(layout)
        if owner is not None:
            raise get_conflict(layout, owner)
        if order is not None:
            write_atomically(layout.job, order_type.dump_json(order, indent=2) + b"\n")
        control_offset = get_control_size(layout)
        child = _spawn(layout, build_command(layout.folder.absolute(), processes), is_polite)
        mark = find_mark(child.pid)
        if mark is None:
            # It has ended already: what it printed is in the log, its code comes from poll().
            mark = ProcessMark(process_id=child.pid, create_time=0.0, host="")
        try:
            # On its behalf, so that nobody else starts the run while this one is still loading.
            write_mark(layout.owner, mark.model_copy(update={"control_offset": control_offset}))
        except FileUnusable:
            JobProcess(mark, child).kill()
            raise
    return JobProcess(mark, child)


def attach(layout: RunLayout) -> JobProcess | None:
    """Returns the living process that owns the run, or None if there is none on this machine."""
    owner = find_owner(layout)
    if owner is None or not owner.is_alive():
        return None
    return JobProcess(owner)


def _spawn(layout: RunLayout, command: list[str], is_polite: bool) -> subprocess.Popen[bytes]:
    try:
        log = layout.log.open("ab")
    except OSError as error:
        raise get_file_error(layout.log, error) from error
    with log:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=build_environment(),
                start_new_session=True,
                creationflags=_get_creation_flags(is_polite),
            )
        except OSError as error:
            raise JobDied(
                f"The system refused to start the process of the run: {error.strerror or error}.",
                "Close other programs and try again; if that does not help, install the program "
                "again.",
            ) from error
    if is_polite and os.name != "nt":
        with suppress(psutil.Error):  # it runs all the same, only less politely
            psutil.Process(child.pid).nice(_POLITE_LEVEL)
    return child


def _get_creation_flags(is_polite: bool) -> int:
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return flags | (subprocess.BELOW_NORMAL_PRIORITY_CLASS if is_polite else 0)
    return 0
