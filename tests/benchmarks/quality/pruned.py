"""Bases with zeros: before, with an adapter, merged around the zeros."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core.events.types import ValidationFinished
from studio.core.runs.layout import RunLayout
from studio.engine.export.merged import export_merged
from studio.engine.prune.folder import prune_model
from tests.benchmarks.quality.table import Kept
from tests.benchmarks.quality.work import (
    BASE,
    SEEDS,
    STEPS,
    at,
    build_layout,
    mean,
    measure_folder,
)
from tests.engine.tiny_run import of_type, train_run

KEEPS = {"keep_zeros": True}


def compare_pruned(data: Path, kept: Kept) -> Iterator[str]:
    """Yields the table of bases with zeros."""
    del kept
    rate = 5e-3
    yield f"## Pruned bases: {STEPS} steps, rank 16, rate {rate}, mean of {len(SEEDS)} seeds"
    yield ""
    yield "Zeros known: trained with adapter.keep_zeros; the merged model is as sparse as its base."
    yield ""
    yield (
        "| base | before | with adapter | merged | merged, zeros kept | zeros known: with adapter "
        "| against dense | merged, zeros kept |"
    )
    yield "|---" * 8 + "|"
    dense: float | None = None
    for name, pattern, sparsity in (
        ("dense", None, 0.0),
        ("half of each matrix zero, by magnitude", "magnitude", 0.5),
        ("two of four zero", "two_four", 0.5),
        ("three quarters zero, by magnitude", "magnitude", 0.75),
    ):
        base = BASE if pattern is None else data / name
        if pattern is not None:
            for _ in prune_model(BASE, base, pattern, sparsity):
                pass
        plain = _train_and_merge(data, base, {}, rate)
        known = plain if pattern is None else _train_and_merge(data, base, KEEPS, rate)
        dense = dense or plain[0]
        cells = (measure_folder(data, base), *plain, known[0])
        line = f"| {name} | " + " | ".join(f"{cell:.4f}" for cell in cells)
        line += f" | {known[0] / dense - 1:+.1%} | {known[2]:.4f} |"
        print(line, flush=True)
        yield line


def _train_and_merge(
    data: Path, base: Path, adapter: dict[str, Any], rate: float
) -> tuple[float, ...]:
    """Returns the mean losses with the adapter, merged, and merged with the zeros kept."""
    found: list[tuple[float, ...]] = []
    for seed in SEEDS:
        layout = build_layout(data, adapter, at(rate, seed), base)
        loss = of_type(train_run(layout), ValidationFinished)[-1].loss
        found.append((loss, *(_measure_merged(data, base, layout, k) for k in (False, True))))
    return tuple(mean(list(column)) for column in zip(*found, strict=True))


def _measure_merged(data: Path, base: Path, layout: RunLayout, keeps_zeros: bool) -> float:
    with tempfile.TemporaryDirectory(dir=data) as scratch:
        target = Path(scratch) / "merged"
        for _ in export_merged(base, layout.adapter, target, keeps_zeros=keeps_zeros):
            pass
        return measure_folder(data, target)
