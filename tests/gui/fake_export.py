"""The scenes of a child that exports, and looks at what was exported."""

from __future__ import annotations

import os
from pathlib import Path

from studio.core.events import types
from studio.core.events.writer import EventWriter
from studio.core.jobs.orders import CheckExportOrder, ExportOrder, HandOverOrder, PushOrder
from studio.core.runs.layout import RunLayout
from studio.core.runs.store import load_order


def play_export(layout: RunLayout, writer: EventWriter) -> None:
    order = load_order(layout)
    if isinstance(order, CheckExportOrder | HandOverOrder | PushOrder):
        play_around_export(order, writer)
        return
    assert isinstance(order, ExportOrder)
    writer.write(types.JobStarted(kind="export", process_id=os.getpid(), attempt=1))
    writer.write(types.PhaseEntered(phase="saving"))
    writer.write(types.ExportProgressed(done_bytes=50, total_bytes=100))
    Path(order.out).mkdir(parents=True)
    writer.write(
        types.ExportFinished(
            folder=order.out,
            files=("adapter_config.json", "adapter_model.safetensors"),
            is_verified=True,
            largest_difference=1e-7,
        )
    )
    writer.write(types.RunFinished(step=0))


FINDING = {
    "tool": "vllm",
    "target": "adapter",
    "code": "rank_above_default",
    "message": "vLLM takes adapters up to rank 16.",
    "advice": "Shrink the rank.",
    "remedies": ("shrink_rank", "merge"),
    "is_fatal": False,
}


def play_around_export(
    order: CheckExportOrder | HandOverOrder | PushOrder, writer: EventWriter
) -> None:
    """Finds a rank of 32, says "Ahoy" in Ollama, and refuses names with "taken" in them."""
    writer.write(types.JobStarted(kind=order.kind, process_id=os.getpid(), attempt=1))
    if isinstance(order, CheckExportOrder):
        found = (types.ExportFinding.model_validate(FINDING),)
        writer.write(types.ExportChecked(rank=32, findings=found, losses={8: 0.2, 16: 0.034}))
    elif isinstance(order, PushOrder):
        writer.write(types.PushFinished(url=f"https://hub/{order.repository}", commit="c"))
    elif "taken" in order.name and not order.replaces:
        writer.write(types.RunFailed(code="name_taken", message="Taken.", remedy="Another name."))
        return
    else:
        made = types.HandedOver(
            program=order.program,
            name=order.name,
            place="there",
            question="Hello?" if order.program == "ollama" else "",
            expected="Ahoy",
            answer="Ahoy",
        )
        writer.write(made)
    writer.write(types.RunFinished(step=0))


def play_broken_export(layout: RunLayout, writer: EventWriter) -> None:
    writer.write(types.JobStarted(kind="export", process_id=os.getpid(), attempt=1))
    writer.write(types.RunFailed(code="disk_full", message="No space.", remedy="Free some."))
