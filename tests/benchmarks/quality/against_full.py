"""LoRA and full fine-tuning of the same weights on the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.quality.table import Kept, Side, iter_table

STARTER = Path(__file__).resolve().parents[3] / "resources" / "starter"
FEW_ROWS = 400
STARTER_WORK = (
    "The starter kit's own chat model on its own sets of 480 rows; every fifth is held out."
)
_RATES = (2.5e-3, 5e-3, 1e-2, 2e-2)
_WIDE: dict[str, Any] = {"rank": 64, "alpha": 64.0}
_LINEAR: dict[str, Any] = {"rank": "full", "targets": ["*_proj"]}
_INPUT: dict[str, Any] = {"extra_modules": ["embed_tokens"]}
_TABLES: dict[str, Any] = {"extra_modules": ["embed_tokens", "lm_head"]}
_REST: dict[str, Any] = {"extra_modules": ["embed_tokens", "lm_head", "*norm"]}


def compare_with_full(data: Path, kept: Kept) -> Iterator[str]:
    """Yields the table where there are many rows."""
    steps = 600
    heading = f"## Against full fine-tuning: {steps} steps, each side at the best of its rates"
    yield from iter_table(data, heading, _list_sides(steps, _RATES), kept)


def compare_on_few_rows(data: Path, kept: Kept) -> Iterator[str]:
    """Yields the table where there are few rows."""
    folder = data / "few"
    folder.mkdir()
    lines = (data / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join(lines[:FEW_ROWS]), encoding="utf-8")
    (folder / "held.jsonl").write_bytes((data / "held.jsonl").read_bytes())
    steps = 100
    heading = f"## {FEW_ROWS} training rows only, {steps} steps, each side at the best of its rates"
    yield from iter_table(folder, heading, _list_sides(steps, _RATES[1:]), kept)


def _list_sides(steps: int, rates: tuple[float, ...]) -> list[Side]:
    """Returns the sides by what they may move: everything, or the linear layers only."""
    train = {"steps": steps}
    full = (2e-3, 4e-3, 8e-3, 1.6e-2)
    return [
        Side("every weight", {"rank": "full"}, full, train),
        Side("every weight of the linear layers", _LINEAR, full[:3], train),
        Side("LoRA, rank 16", {}, rates, train),
        Side("LoRA, rank 64", _WIDE, _RATES[:3], train),
        Side("LoRA, rank 16, and the input table", _INPUT, rates, train),
        Side("LoRA, rank 16, and both word tables", _TABLES, rates, train),
        Side("LoRA, rank 64, word tables and norms", _WIDE | _REST, _RATES[:3], train),
    ]


def compare_on_starter(data: Path, kept: Kept) -> Iterator[str]:
    """Yields the tables of the starter, which speaks already."""
    train = {"steps": 90}
    sides = [
        Side("every weight", {"rank": "full"}, (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3), train),
        Side("LoRA, rank 16", {}, _RATES, train),
        Side("LoRA, rank 64", _WIDE, (1.25e-3, 2.5e-3, 5e-3, 1e-2), train),
    ]
    for name in ("pirate", "json"):
        folder = data / name
        folder.mkdir()
        lines = (STARTER / "data" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        held = set(lines[::5])
        for file, chosen in (("train", set(lines) - held), ("held", held)):
            text = "\n".join(line for line in lines if line in chosen)
            (folder / f"{file}.jsonl").write_text(text, encoding="utf-8")
        heading = f"## The starter kit's set `{name}`: 90 steps, each side at the best of its rates"
        yield from iter_table(folder, heading, sides, kept, base=STARTER / "model")
        yield ""
