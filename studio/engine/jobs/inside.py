"""The inside job: what adapters change in each layer, and how alike they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from studio.core.errors import ModelUnusable, StudioError
from studio.core.events.measures import (
    AdapterMeasured,
    InsideProgressed,
    LayerSimilarity,
    ModuleLook,
    SimilarityMeasured,
)
from studio.core.events.types import Event, NoticeRaised, PhaseEntered, RunFinished
from studio.core.jobs.orders import InsideOrder
from studio.core.runs.layout import RunLayout
from studio.engine.export.weight_norms import WeightNorms
from studio.engine.jobs.requests import RequestFeed, ends_when_stopped
from studio.engine.lora.inside import (
    compute_layer_similarities,
    compute_norm,
    compute_ranks,
    compute_similarity,
)
from studio.engine.lora.stored import StoredAdapter, read_adapter
from studio.engine.models.reference import find_model


@ends_when_stopped
def run(order: InsideOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Measures the low-rank updates of every adapter, beside the base's weights where it is here.

    Yields:
        PhaseEntered, NoticeRaised for what the measures leave out, InsideProgressed,
        AdapterMeasured for each adapter, SimilarityMeasured for each pair, RunFinished;
        RunStopped alone after a stop.

    Raises:
        StudioError: An adapter cannot be used.
    """
    del layout  # the order says everything
    yield PhaseEntered(phase="loading_model")
    adapters = {name: read_adapter(Path(folder)) for name, folder in order.adapters.items()}
    for name, stored in adapters.items():
        yield from _notice_rest(name, stored)
    bases: dict[str, WeightNorms] = {}
    yield from _open_bases(order, adapters, bases)
    yield PhaseEntered(phase="validating")
    total = sum(len(stored.modules) for stored in adapters.values())
    done = 0
    for name, stored in adapters.items():
        norms = bases.get(order.base or stored.config.base_model or "")
        looks = []
        for module, part in stored.modules.items():
            control.check_stop()
            ranks = compute_ranks(part)
            looks.append(
                ModuleLook(
                    name=module,
                    rank=part.rank,
                    norm=compute_norm(part),
                    effective_rank=ranks.effective,
                    stable_rank=ranks.stable,
                    base_norm=None if norms is None else norms.measure(module),
                )
            )
            done += 1
            yield InsideProgressed(done_modules=done, total_modules=total)
        yield AdapterMeasured(adapter=name, modules=tuple(looks))
    yield from _compare(adapters, control)
    yield RunFinished(step=0)


def _compare(adapters: Mapping[str, StoredAdapter], control: RequestFeed) -> Iterator[Event]:
    for one, other in combinations(adapters, 2):
        control.check_stop()
        layers = compute_layer_similarities(adapters[one], adapters[other])
        yield SimilarityMeasured(
            adapter=one,
            other=other,
            cosine=compute_similarity(adapters[one], adapters[other]),
            layers=tuple(LayerSimilarity(layer=at, cosine=cos) for at, cos in layers.items()),
        )


def _open_bases(
    order: InsideOrder, adapters: Mapping[str, StoredAdapter], bases: dict[str, WeightNorms]
) -> Iterator[Event]:
    """Finds the bases on this machine; without one, only sizes beside it are missing."""
    named = {order.base or stored.config.base_model or "" for stored in adapters.values()}
    for name in sorted(named):
        try:
            if not name:
                raise ModelUnusable("An adapter does not say which base model it belongs to.", "-")
            bases[name] = WeightNorms(find_model(name, Path.cwd()).folder)
        except StudioError as error:
            yield NoticeRaised(
                severity="note",
                code="base_not_read",
                message=f"{error.message} Sizes beside the base's weights are missing.",
                remedy="Choose the folder of the base model to see them.",
            )


def _notice_rest(name: str, stored: StoredAdapter) -> Iterator[Event]:
    """Says what an adapter changes besides the low-rank updates that are measured."""
    parts = ["the lengths of its weights (DoRA)"] if stored.config.use_dora else []
    parts += [f"{len(stored.tokens)} table(s) of token vectors"] if stored.tokens else []
    whole = sorted(one for one in stored.weights if stored.is_trained(one))
    parts += [f"{whole[0].rpartition('.')[0]} in full"] if whole else []
    if parts:
        yield NoticeRaised(
            severity="note",
            code="not_low_rank",
            message=f"{name} also trains {' and '.join(parts)}.",
            remedy="Only its low-rank updates are measured here.",
        )
