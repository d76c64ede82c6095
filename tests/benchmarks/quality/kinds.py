"""Optimizers and start values, each at the best of its rates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.quality.table import Kept, Side, iter_table
from tests.benchmarks.quality.work import STEPS


def compare_optimizers(data: Path, kept: Kept) -> Iterator[str]:
    """Yields the table of optimizers."""
    sides = [
        Side(name, {}, rates, {"optimizer": name})
        for name, rates in {
            "adamw": (2.5e-3, 5e-3, 1e-2, 2e-2),
            "lion": (2.5e-4, 5e-4, 1e-3, 2e-3),
            "adafactor": (2.5e-3, 5e-3, 1e-2, 2e-2),
            "muon": (5e-3, 1e-2, 2e-2, 4e-2),
            "schedule_free": (5e-3, 1e-2, 2e-2, 4e-2),
        }.items()
    ]
    heading = f"## Optimizers: {STEPS} steps, rank 16, each at the best of its rates"
    yield from iter_table(data, heading, sides, kept, against="AdamW")


def compare_inits(data: Path, kept: Kept) -> Iterator[str]:
    """Yields the table of start values."""
    rates = (2.5e-3, 5e-3, 1e-2, 2e-2)
    sides = [
        Side(name, {"init": name}, rates)
        for name in ("kaiming", "gaussian", "eva", "pissa", "olora")
    ]
    sides += [
        Side(f"{name}, base in nf4", {"init": name}, rates, quantisation="nf4")
        for name in ("kaiming", "loftq")
    ]
    heading = f"## Start values: {STEPS} steps, rank 16, AdamW, each at the best of its rates"
    yield from iter_table(data, heading, sides, kept, against="kaiming")
