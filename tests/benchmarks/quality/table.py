"""A table of sides, each at the best of its rates; lines of an earlier table can be kept."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.quality.work import BASE, SEEDS, at, build_layout, mean, train_ours


@dataclass(frozen=True)
class Side:
    """One way to train, and the rates that it is given a chance with."""

    name: str
    adapter: dict[str, Any]
    rates: tuple[float, ...]
    train: dict[str, Any] = field(default_factory=dict)
    quantisation: str = "none"


@dataclass(frozen=True)
class Kept:
    """The lines of an earlier result, by heading and side; ``only`` these sides are measured."""

    only: frozenset[str] = frozenset()
    lines: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, only: list[str]) -> Kept:
        """Returns what ``path`` holds already."""
        heading, lines = "", {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            if line.startswith("## "):
                heading = line
            elif line.startswith("| "):
                lines[heading, line.split("|")[1].strip()] = line
        return cls(frozenset(only), lines)


def iter_table(
    data: Path,
    heading: str,
    sides: list[Side],
    kept: Kept,
    *,
    base: Path = BASE,
    against: str = "full",
) -> Iterator[str]:
    """Yields the lines of a table; every side is compared with the first one."""
    yield heading
    yield ""
    titles = ("side", "rates tried (loss, seed 0)", "best rate", "by seed", "mean")
    titles = (*titles, "standard error", f"against {against}")
    yield "| " + " | ".join(titles) + " |"
    yield "|---" * len(titles) + "|"
    first: float | None = None
    for side in sides:
        line = kept.lines.get((heading, side.name))
        if not kept.only or side.name in kept.only:
            line = _tune(data, side, base, first)
            print(line, flush=True)
        if line is not None:
            first = first or float(line.split("|")[5])
            yield line


def _tune(data: Path, side: Side, base: Path, first: float | None) -> str:
    def run(rate: float, seed: int) -> float:
        train = side.train | at(rate, seed)
        loss = train_ours(build_layout(data, side.adapter, train, base, side.quantisation))
        print(f"{side.name}, rate {rate:g}, seed {seed}: {loss:.4f}", flush=True)
        return loss

    tried = {rate: run(rate, SEEDS[0]) for rate in side.rates}
    best = min(tried, key=lambda rate: tried[rate])
    losses = [tried[best], *(run(best, seed) for seed in SEEDS[1:])]
    is_edge = best in (side.rates[0], side.rates[-1])
    cells = (
        ", ".join(f"{rate:g}: {loss:.3f}" for rate, loss in tried.items()),
        f"{best:g}" + (" (edge)" if is_edge else ""),
        ", ".join(f"{loss:.4f}" for loss in losses),
        f"{mean(losses):.4f}",
        f"{statistics.stdev(losses) / math.sqrt(len(losses)):.4f}",
        f"{mean(losses) / (first or mean(losses)) - 1:+.1%}",
    )
    return f"| {side.name} | " + " | ".join(cells) + " |"
