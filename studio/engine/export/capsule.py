"""A whole run in one file: recipe, manifest, facts, metrics and adapter, each with its hash."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from studio.core.errors import StudioError
from studio.core.events.types import ExportProgressed
from studio.core.paths import Home
from studio.core.runs.capsule import (
    SUFFIX,
    CapsuleContent,
    check_capsule,
    find_run_files,
    write_capsule,
)
from studio.core.runs.exporting import find_base_folder, find_run
from studio.core.runs.importing import find_adapter_files
from studio.core.runs.leftovers import replace_marked_folder
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore
from studio.engine.export.target import check_target
from studio.engine.lora.stored import read_adapter

_METRICS = (
    "status", "step", "total_steps", "epoch", "first_loss", "last_loss", "validation_loss",
    "best_validation_loss", "best_step", "adapter_step", "trained_tokens", "trained_seconds",
    "tokens_per_second", "peak_memory_bytes", "device", "versions",
)  # fmt: skip


def export_capsule(
    adapter: Path, target: Path, *, name: str, base: str | None = None
) -> Generator[ExportProgressed, None, tuple[str, ...]]:
    """Packs the adapter, and the run it lies in, into one zip below ``target``; returns its name.

    Closing the generator early, like any failure, leaves nothing behind.

    Yields:
        ExportProgressed after each block and at the end.

    Raises:
        AdapterUnusable: The adapter is broken.
        FileUnusable: ``target`` is taken or cannot be written to, or the disk is full.
    """
    stored = read_adapter(adapter)
    content = gather(adapter, name=name, base=base or stored.config.base_model)
    total_bytes, done_bytes = content.total_bytes, 0
    check_target(target, total_bytes)
    file_name = f"{name}{SUFFIX}"
    with replace_marked_folder(target) as folder:
        for written in write_capsule(folder / file_name, content):
            done_bytes += written
            yield ExportProgressed(done_bytes=min(done_bytes, total_bytes), total_bytes=total_bytes)
    return (file_name,)


def gather(adapter: Path, *, name: str, base: str | None) -> CapsuleContent:
    """Returns what a capsule of the adapter, and of its run if it lies in one, will hold.

    Raises:
        FileUnusable: A file cannot be read.
    """
    layout = find_run(adapter)
    files = {} if layout is None else find_run_files(layout)
    files |= {f"adapter/{part}": path for part, path in find_adapter_files(adapter).items()}
    if layout is None:
        return CapsuleContent(name, 0.0, base, None, files, {})
    record = RunStore(Home(layout.folder.parent)).load(layout)
    return CapsuleContent(
        name=record.name,
        created_seconds=record.created_seconds,
        base=base,
        base_folder=find_base_folder(layout),
        files=files,
        metrics=collect_metrics(record),
    )


def collect_metrics(record: RunRecord) -> dict[str, Any]:
    """Returns the numbers of a run that other people ask for, as JSON holds them."""
    return record.model_dump(mode="json", include=set(_METRICS))


def find_capsule_faults(path: Path) -> list[str]:
    """Returns what is wrong with a capsule that was just written; empty when every hash fits."""
    try:
        check_capsule(path)
    except StudioError as error:
        return [error.message]
    return []
