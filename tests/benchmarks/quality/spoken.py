"""LoRA and full fine-tuning of a base that already speaks the language of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from studio.engine.export.merged import export_merged
from tests.benchmarks.quality.table import Kept, Side, iter_table
from tests.benchmarks.quality.work import (
    BASE,
    build_layout,
    measure_folder,
    read_lines,
    split_line,
    train_run,
    write_pairs,
)

LONGEST_MEANING = 6
SPOKEN_WORK = (
    "The stories model was first trained in full on 8,000 rows of E2E about pubs and restaurants "
    f"(rows of up to {LONGEST_MEANING} attributes); each table goes on from there on other rows, "
    "with 150 held-out rows. The loss of a run is its best of six measurements, for all sides."
)
_FIRST_ROWS, _FIRST_STEPS, _FIRST_RATE, _HELD = 8000, 500, 4e-3, 150
_FULL_RATES = (2.5e-4, 5e-4, 1e-3, 2e-3)
_RATES = (2.5e-3, 5e-3, 1e-2, 2e-2)


def compare_on_spoken(data: Path, kept: Kept) -> Iterator[str]:
    """Yields the tables: near rows, few and many, and a task that is new."""
    coffee = [split_line(line) for line in _pick("train", "coffee shop")]
    held = [split_line(line) for line in _pick("valid", "coffee shop")]
    held = held[:: len(held) // _HELD][:_HELD]
    base = _train_base(data)
    for name, rows, steps, is_parsed in (
        ("coffee shops", 300, 60, False),
        ("coffee shops", 2000, 120, False),
        ("the other way round, from text to attributes", 1000, 120, True),
    ):
        folder = data / f"{name} {rows}"
        folder.mkdir()
        for file, pairs in (("train", coffee[:rows]), ("held", held)):
            turned = [(b, a) for a, b in pairs] if is_parsed else pairs
            write_pairs(folder / f"{file}.jsonl", turned)
        heading = f"## {rows:,} rows: {name}; {steps} steps"
        yield from iter_table(folder, heading, _list_sides(steps), kept, base=base)
        yield ""
        yield f"Before: {measure_folder(folder, base):.4f}."
        yield ""


def _list_sides(steps: int) -> list[Side]:
    train = {"steps": steps, "evaluate_every_steps": steps // 6, "early_stopping_patience": 0}
    return [
        Side("every weight", {"rank": "full"}, _FULL_RATES, train),
        Side("LoRA, rank 8", {"rank": 8, "alpha": 16.0}, _RATES, train),
        Side("LoRA, rank 16", {}, _RATES, train),
    ]


def _train_base(data: Path) -> Path:
    """Returns a model that has learnt to describe pubs and restaurants, in full."""
    folder, merged = data / "first", data / "spoken"
    folder.mkdir()
    lines = _pick("train", "pub", "restaurant")
    write_pairs(folder / "train.jsonl", (split_line(line) for line in lines[_HELD:][:_FIRST_ROWS]))
    write_pairs(folder / "held.jsonl", (split_line(line) for line in lines[:_HELD]))
    train: dict[str, Any] = {"steps": _FIRST_STEPS, "learning_rate": _FIRST_RATE, "seed": 0}
    layout = build_layout(folder, {"rank": "full"}, train)
    train_run(layout)
    for _ in export_merged(BASE, layout.adapter, merged):
        pass
    return merged


def _pick(part: str, *kinds: str) -> list[str]:
    """Returns short lines about places of these kinds, shuffled."""
    ends = tuple(f"Type : {kind} " for kind in kinds)
    lines = [
        line
        for line in read_lines(part)
        if line.split("||")[0].count("|") < LONGEST_MEANING
        and any(end in f"{line.split('||')[0]} " for end in ends)
    ]
    return [lines[index] for index in np.random.default_rng(0).permutation(len(lines))]
