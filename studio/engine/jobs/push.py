"""The push job: a verified export goes to the hub; loads no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.core.events.types import Event, PhaseEntered, PushFinished, RunFinished
from studio.core.jobs.orders import PushOrder
from studio.core.network.gate import find_gate
from studio.core.paths import find_home
from studio.core.runs.layout import RunLayout
from studio.engine.export.push import collect_upload, push
from studio.engine.jobs.requests import RequestFeed, ends_when_stopped, follow_until_stopped


@ends_when_stopped
def run(order: PushOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Uploads the folder that the order names.

    Yields:
        PhaseEntered, ExportProgressed after each file, PushFinished, RunFinished; RunStopped after
        a stop, with nothing to be seen in the repository.

    Raises:
        StudioError: The gate is closed, the hub refuses, or the folder is no verified export.
    """
    gate = find_gate(find_home(layout.folder))
    upload = collect_upload(Path(order.folder))
    yield PhaseEntered(phase="saving", detail=f"Uploading to {order.repository}")
    steps = push(gate, upload, order.repository, is_private=order.is_private)
    pushed = yield from follow_until_stopped(steps, control)
    yield PushFinished(url=pushed.url, commit=pushed.commit)
    yield RunFinished(step=0)
