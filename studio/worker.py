"""The entry of every child process: run directory in, events out, exit code = outcome."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import studio
from studio.core.errors import OutOfMemory, StudioError
from studio.core.events.types import Event, JobStarted, PhaseEntered, RunFailed
from studio.core.events.writer import EventWriter
from studio.core.files import get_file_error
from studio.core.jobs.control import ControlTail
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import claim, release
from studio.core.runs.store import load_order

if TYPE_CHECKING:
    from studio.core.jobs.orders import AnyOrder
    from studio.engine.jobs.requests import RequestFeed

DONE, FAILED, MISUSED = 0, 1, 2
_NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def main(arguments: list[str]) -> int:
    """Returns 0 when the job ended as planned or as the user wished, 1 when it failed.

    2 means that the arguments are wrong. ``arguments`` is the run directory alone.
    """
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m studio worker RUN_DIR\n")
        return MISUSED
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    layout = RunLayout(Path(arguments[0]))
    try:
        order = load_order(layout)
        claim(layout)
    except StudioError as error:
        # The run belongs to somebody else, or is none: its journal is not ours to write.
        sys.stderr.write(f"{error}\n")
        return FAILED
    try:
        with EventWriter(layout.events) as writer:
            return _work(order, layout, writer)
    except StudioError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    finally:
        release(layout)


def _work(order: AnyOrder, layout: RunLayout, writer: EventWriter) -> int:
    """Runs the job; the one place where every failure becomes a fact."""
    try:
        for event in _run(order, layout):
            writer.write(event)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the journal must say it
        failure = describe_failure(error, layout)
        if not isinstance(error, StudioError) or error.__cause__ is not None:
            traceback.print_exception(error)
        sys.stderr.write(f"{failure.message} {failure.remedy}\n")
        writer.write(failure)
        return FAILED
    return DONE


def _run(order: AnyOrder, layout: RunLayout) -> Iterator[Event]:
    attempt = 1 + _count_attempts(layout.events)
    yield JobStarted(
        kind=order.kind, process_id=os.getpid(), attempt=attempt, versions=_get_versions()
    )
    yield PhaseEntered(phase="starting", detail="Loading PyTorch takes a few seconds")
    feed: RequestFeed = import_module("studio.engine.jobs.requests").RequestFeed(
        ControlTail.of_attempt(layout)
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: feed.stop())
    job = _load(order.kind)
    try:
        yield from job.run(order, layout, feed)
    finally:
        gc.unfreeze()


def _load(kind: str) -> ModuleType:
    """Returns the module of a job; the libraries that it needs take seconds to load.

    To look for garbage among all that is made meanwhile, and again and again while the job works,
    takes a sixth of the processor time of a short training: none of it ever becomes garbage.
    """
    gc.disable()
    try:
        return import_module(f"studio.engine.jobs.{kind}")
    finally:
        gc.freeze()
        gc.enable()


def describe_failure(error: BaseException, layout: RunLayout) -> RunFailed:
    """Returns what a person is told about ``error``: the message, and what to do."""
    if not isinstance(error, StudioError):
        error = _translate(error, layout)
    return RunFailed(code=error.code, message=error.message, remedy=error.remedy)


def _translate(error: BaseException, layout: RunLayout) -> StudioError:
    if _is_out_of_memory(error):
        return OutOfMemory(
            "The memory was not enough for these settings.",
            "Lower the tokens at once (train.micro_batch_tokens) or the longest example "
            "(data.max_tokens), let layers be recomputed (train.checkpointing: all), or close "
            "other programs. The last checkpoint can be resumed.",
        )
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        name = error.filename if isinstance(error.filename, str) else str(layout.folder)
        return get_file_error(Path(name), error)
    last_line = traceback.format_exception_only(error)[-1].strip()
    is_saved = layout.checkpoints.is_dir()  # only training has any
    way_on = " The last checkpoint, if there is one, can be resumed." if is_saved else ""
    return StudioError(
        f"Something went wrong inside the program: {last_line}",
        f"The details are in {layout.log}.{way_on}",
        code="internal_error",
    )


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    # torch has no type of its own for the processor's memory, only this text
    is_allocator = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return is_allocator or isinstance(error, torch.OutOfMemoryError)


def _count_attempts(journal: Path) -> int:
    """Returns how many processes have worked on this run before."""
    try:
        with journal.open("rb") as stream:
            return sum(1 for line in stream if line.startswith(b'{"event":"JobStarted"'))
    except FileNotFoundError:
        return 0


def _get_versions() -> dict[str, str]:
    """Returns versions from the installed packages' own records, without importing them."""
    versions = {"studio": studio.__version__, "python": sys.version.split()[0]}
    for package in ("torch", "transformers"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "missing"
    return versions
