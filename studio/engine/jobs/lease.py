"""The right to use the graphics card, for a job whose run directory lies in a home."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from studio.core import paths
from studio.core.events.types import Event, JobQueued
from studio.core.jobs.queue import DeviceLease
from studio.core.paths import Home
from studio.core.runs.layout import RunLayout
from studio.engine.jobs.requests import RequestFeed

_PAUSE_SECONDS = 0.25


def wait_for_device(
    layout: RunLayout, device: torch.device, control: RequestFeed
) -> Iterator[Event]:
    """Takes the graphics card for this process; waits while another run has it.

    The lease ends with the process, so that nothing has to be given back. From then on the card
    is the one that torch means where none is named.

    Yields:
        JobQueued, once, if there is somebody to wait for.

    Raises:
        StopWished: The user pressed Stop while waiting.
        FileUnusable: The home folder is not writable.
    """
    if device.type == "cpu":
        return
    lease = DeviceLease(find_home(layout))
    run_id = layout.folder.name
    holder = lease.try_acquire(run_id)
    if holder is not None:
        yield JobQueued(behind=holder.run_id)
    while holder is not None:
        control.check_stop()
        time.sleep(_PAUSE_SECONDS)
        holder = lease.try_acquire(run_id)
    if device.type == "cuda":
        torch.cuda.set_device(device)


def find_home(layout: RunLayout) -> Home:
    """Returns the home that a run or job directory lies in."""
    return paths.find_home(layout.folder)
