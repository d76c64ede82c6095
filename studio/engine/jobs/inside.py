"""The inside job: what adapters change in each layer, and how alike they are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from studio.core.events.measures import AdapterMeasured, ModuleLook, SimilarityMeasured
from studio.core.events.types import Event, PhaseEntered, RunFinished, RunStopped
from studio.core.jobs.orders import InsideOrder
from studio.core.runs.layout import RunLayout
from studio.engine.jobs.requests import RequestFeed, StopWished
from studio.engine.lora.inside import compute_effective_rank, compute_norm, compute_similarity
from studio.engine.lora.stored import read_adapter


def run(order: InsideOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Measures the low-rank updates of every adapter.

    Yields:
        PhaseEntered, AdapterMeasured for each adapter, SimilarityMeasured for each pair,
        RunFinished; RunStopped alone after a stop.

    Raises:
        StudioError: An adapter cannot be used.
    """
    del layout  # the order says everything
    try:
        yield from _look(order, control)
    except StopWished:
        yield RunStopped(step=0)


def _look(order: InsideOrder, control: RequestFeed) -> Iterator[Event]:
    yield PhaseEntered(phase="loading_model")
    adapters = {name: read_adapter(Path(folder)) for name, folder in order.adapters.items()}
    for name, stored in adapters.items():
        looks = []
        for module, part in stored.modules.items():
            control.check_stop()
            effective = compute_effective_rank(part)
            looks.append(
                ModuleLook(
                    name=module, rank=part.rank, norm=compute_norm(part), effective_rank=effective
                )
            )
        yield AdapterMeasured(adapter=name, modules=tuple(looks))
    for one, other in combinations(adapters, 2):
        control.check_stop()
        cosine = compute_similarity(adapters[one], adapters[other])
        yield SimilarityMeasured(adapter=one, other=other, cosine=cosine)
    yield RunFinished(step=0)
