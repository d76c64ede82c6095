"""The grow job: a copy of a base model that knows new tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.core.events.types import Event, ModelGrown, PhaseEntered, RunFinished
from studio.core.jobs.orders import GrowOrder
from studio.core.runs.layout import RunLayout
from studio.engine.jobs.requests import RequestFeed, ends_when_stopped, follow_until_stopped
from studio.engine.models.reference import find_model
from studio.engine.vocabulary.grow import grow_model


@ends_when_stopped
def run(order: GrowOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Writes the model with the new tokens.

    Yields:
        PhaseEntered, ExportProgressed, ModelGrown, RunFinished; RunStopped alone after a stop,
        with nothing left behind.

    Raises:
        StudioError: The model cannot be given new tokens, or the target cannot be written.
    """
    del layout  # the order says everything
    base = find_model(order.base, Path.cwd(), None).folder
    yield PhaseEntered(phase="saving", detail=f"Writing to {order.out}")
    steps = grow_model(base, Path(order.out), order.tokens)
    files = yield from follow_until_stopped(steps, control)
    yield ModelGrown(folder=order.out, files=files, tokens=order.tokens)
    yield RunFinished(step=0)
