"""The job that says what each tool would refuse of an adapter, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import AdapterUnusable
from studio.core.events.types import Event, ExportChecked, PhaseEntered, RunFinished
from studio.core.jobs.orders import CheckExportOrder
from studio.core.runs.layout import RunLayout
from studio.engine.export.experts import find_layouts
from studio.engine.export.lint import Case, check_all
from studio.engine.export.reduced import measure_losses
from studio.engine.jobs.requests import RequestFeed
from studio.engine.lora.stored import read_adapter
from studio.engine.models.files import load_config
from studio.engine.models.reference import find_model


def run(order: CheckExportOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Checks the adapter against every tool; nothing is loaded but the adapter itself.

    Yields:
        PhaseEntered, ExportChecked, RunFinished.

    Raises:
        StudioError: The adapter is broken, or its base is not on this machine.
    """
    del layout, control  # the order says everything, and it takes a moment
    yield PhaseEntered(phase="loading_model")
    stored = read_adapter(Path(order.adapter))
    name = order.base or stored.config.base_model
    if not name:
        raise AdapterUnusable(
            f"The adapter in {order.adapter} does not say which base model it belongs to.",
            "Choose the base model it was trained on.",
        )
    start = Path(order.base_folder) if order.base_folder else Path.cwd()
    base = find_model(name, start, None if order.base else stored.config.revision).folder
    case = Case(stored, base, load_config(base))
    yield ExportChecked(
        rank=max((module.rank for module in stored.modules.values()), default=0),
        findings=tuple(check_all(case)),
        losses=measure_losses(stored),
        quantisation=case.quantisation,
        layouts=find_layouts(stored, base),
    )
    yield RunFinished(step=0)
