"""The export job: writes files for other tools, loads them again and compares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import AdapterUnusable
from studio.core.events.types import (
    Event,
    ExportFinished,
    NoticeRaised,
    PhaseEntered,
    RunFinished,
    RunStopped,
)
from studio.core.jobs.orders import ExportOrder
from studio.core.runs.layout import RunLayout
from studio.engine.export.adapter import export_adapter
from studio.engine.export.merged import export_merged
from studio.engine.infer.probes import compare_adapters, compare_merged
from studio.engine.jobs.requests import RequestFeed, StopWished
from studio.engine.lora.stored import read_adapter
from studio.engine.models.reference import find_model


def run(order: ExportOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Writes the adapter or the merged model and verifies it by loading it again.

    Yields:
        PhaseEntered, ExportProgressed, NoticeRaised if the check failed, ExportFinished,
        RunFinished; RunStopped alone after a stop, with nothing left behind.

    Raises:
        StudioError: Adapter or base cannot be used, or the target cannot be written.
    """
    del layout  # the order says everything
    try:
        yield from _export(order, control)
    except StopWished:
        yield RunStopped(step=0)


def _export(order: ExportOrder, control: RequestFeed) -> Iterator[Event]:
    adapter, out = Path(order.adapter), Path(order.out)
    yield PhaseEntered(phase="loading_model")
    base = find_model(_name_base(order), Path.cwd(), _find_revision(order)).folder
    yield PhaseEntered(phase="saving", detail=f"Writing to {out}")
    is_merged = order.target == "merged"
    steps = export_merged(base, adapter, out) if is_merged else export_adapter(adapter, out)
    files: tuple[str, ...] = ()
    while True:
        control.check_stop()
        try:
            progressed = next(steps)
        except StopIteration as end:
            files = end.value
            break
        yield progressed
    yield PhaseEntered(phase="finishing", detail="Loading the files again and comparing")
    compare = compare_merged if is_merged else compare_adapters
    result = compare(base, adapter, out)
    if not result.is_same:
        yield NoticeRaised(
            severity="warning",
            code="export_differs",
            message="The files were written, but loaded again they answer differently than what "
            f"was trained (largest difference {result.largest_difference:.3g}).",
            remedy="Do not use them; export again, and check the drive.",
        )
    yield ExportFinished(
        folder=str(out),
        files=files,
        is_verified=result.is_same,
        largest_difference=result.largest_difference,
    )
    yield RunFinished(step=0)


def _name_base(order: ExportOrder) -> str:
    name = order.base or read_adapter(Path(order.adapter)).config.base_model
    if not name:
        raise AdapterUnusable(
            f"The adapter in {order.adapter} does not say which base model it belongs to.",
            "Choose the base model it was trained on.",
        )
    return name


def _find_revision(order: ExportOrder) -> str | None:
    return None if order.base else read_adapter(Path(order.adapter)).config.revision
