"""The prune job: a copy of a base model with zeros in its linear layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.core.events.types import Event, PhaseEntered, PruneFinished, RunFinished
from studio.core.jobs.orders import PruneOrder
from studio.core.runs.layout import RunLayout
from studio.engine.jobs.requests import RequestFeed, ends_when_stopped, follow_until_stopped
from studio.engine.models.reference import find_model
from studio.engine.prune.folder import prune_model


@ends_when_stopped
def run(order: PruneOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Writes the pruned model.

    Yields:
        PhaseEntered, ExportProgressed, PruneFinished, RunFinished; RunStopped alone after a stop,
        with nothing left behind.

    Raises:
        StudioError: The model cannot be pruned, or the target cannot be written.
    """
    del layout  # the order says everything
    base = find_model(order.base, Path.cwd(), None).folder
    yield PhaseEntered(phase="saving", detail=f"Writing to {order.out}")
    steps = prune_model(base, Path(order.out), order.pattern, order.sparsity)
    pruned = yield from follow_until_stopped(steps, control)
    yield PruneFinished(
        folder=order.out,
        files=pruned.files,
        modules=pruned.modules,
        zeros=pruned.zeros,
        weights=pruned.weights,
    )
    yield RunFinished(step=0)
