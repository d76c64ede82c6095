"""The blend job: several adapters become one, which is read again before it is called done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import RecipeInvalid
from studio.core.events.measures import BlendFinished, BlendProgressed
from studio.core.events.types import Event, NoticeRaised, PhaseEntered, RunFinished
from studio.core.jobs.orders import BlendOrder, ImportOrder
from studio.core.paths import Home
from studio.core.runs.importing import import_adapter
from studio.core.runs.layout import RunLayout
from studio.engine.jobs.requests import RequestFeed, ends_when_stopped
from studio.engine.lora.blend import BlendedModule, Mix, compute_error_fraction, iter_blended
from studio.engine.lora.blended import write_blended
from studio.engine.lora.stored import StoredAdapter, read_adapter


@ends_when_stopped
def run(order: BlendOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Mixes the adapters, layer by layer, and writes the result.

    Yields:
        PhaseEntered, NoticeRaised, BlendProgressed for each layer, BlendFinished, RunFinished;
        RunStopped alone after a stop, with nothing written.

    Raises:
        StudioError: An adapter cannot be used or mixed, or the target cannot be written.
    """
    if order.out is None and order.home is None:
        raise RecipeInvalid("The mix has no place to go.", "Name a folder, or let it be a run.")
    yield PhaseEntered(phase="loading_model")
    adapters = [read_adapter(Path(part.adapter)) for part in order.parts]
    weights = [part.weight for part in order.parts]
    yield from _notice_bases(adapters)
    mix = Mix(order.method, order.rank, order.density, order.seed)
    gains = [part.gains for part in order.parts]
    total = len({name for stored in adapters for name in stored.modules})
    modules: dict[str, BlendedModule] = {}
    for name, module in iter_blended(adapters, weights, mix, gains):
        control.check_stop()
        modules[name] = module
        yield BlendProgressed(done_modules=len(modules), total_modules=total)
    out = layout.folder / "blend" if order.out is None else Path(order.out)
    yield PhaseEntered(phase="saving", detail=f"Writing to {out}")
    write_blended(modules, adapters[0], out)
    read_adapter(out)
    kept = None if order.home is None else _add_to_history(order, out)
    yield BlendFinished(
        folder=str(kept.adapter if kept is not None and order.out is None else out),
        run="" if kept is None else str(kept.folder),
        rank=max(module.lora_a.shape[0] for module in modules.values()),
        modules=len(modules),
        error_fraction=compute_error_fraction(modules.values()),
    )
    yield RunFinished(step=0)


def _add_to_history(order: BlendOrder, adapter: Path) -> RunLayout:
    """Returns the run that the new adapter became."""
    wish = ImportOrder(source=str(adapter), home=order.home or "", name=order.name)
    steps = import_adapter(wish, Home(Path(order.home or "")).runs, read_adapter)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: RunLayout = end.value
            return found


def _notice_bases(adapters: list[StoredAdapter]) -> Iterator[Event]:
    names = sorted({one.config.base_model for one in adapters if one.config.base_model})
    if len(names) > 1:
        yield NoticeRaised(
            severity="warning",
            code="bases_differ",
            message=f"The adapters name different base models: {', '.join(names)}.",
            remedy="Their layers fit each other; try the result before you rely on it.",
        )
    hashes: dict[str, str] = {}
    for stored in adapters:
        for name, value in stored.seen.hashes.items():
            if hashes.setdefault(name, value) != value:
                yield NoticeRaised(
                    severity="warning",
                    code="bases_differ",
                    message=f"The adapter in {stored.folder} was trained on other weights than the "
                    f"ones before it: {name} had another content.",
                    remedy="Their layers fit each other; try the result before you rely on it.",
                )
                return
