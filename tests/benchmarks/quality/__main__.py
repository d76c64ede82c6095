"""Measures one part and writes its table."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import transformers

from tests.benchmarks import quality
from tests.benchmarks.quality.against_full import (
    STARTER_WORK,
    compare_on_few_rows,
    compare_on_starter,
    compare_with_full,
)
from tests.benchmarks.quality.against_peft import compare_with_peft
from tests.benchmarks.quality.kinds import compare_inits, compare_optimizers
from tests.benchmarks.quality.pruned import compare_pruned
from tests.benchmarks.quality.spoken import SPOKEN_WORK, compare_on_spoken
from tests.benchmarks.quality.table import Kept
from tests.benchmarks.quality.work import WORK, write_rows

RESULTS = Path(__file__).parents[1] / "results"
PARTS: dict[str, Callable[[Path, Kept], Iterator[str]]] = {
    "peft": compare_with_peft,
    "full": compare_with_full,
    "few": compare_on_few_rows,
    "optimizers": compare_optimizers,
    "inits": compare_inits,
    "pruned": compare_pruned,
    "spoken": compare_on_spoken,
    "starter": compare_on_starter,
}
WORKS = {"starter": STARTER_WORK, "spoken": SPOKEN_WORK}


def main() -> None:
    """Measure one part and write its table; what stands behind the table stays."""
    parser = argparse.ArgumentParser(description=quality.__doc__)
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--only", action="append", help="a side to measure; others keep their line")
    wish = parser.parse_args()
    result = RESULTS / f"quality_{wish.part}.md"
    kept = Kept.read(result, wish.only) if wish.only else Kept()
    note = _read_note(result)
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as scratch:
        write_rows(Path(scratch))
        table = list(PARTS[wish.part](Path(scratch), kept))
    head = (
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, float32. "
        f"{WORKS.get(wish.part, WORK)} Numbers are nats per supervised token on the held-out "
        "rows; all linear layers carry an adapter."
    )
    text = "\n".join(["# What training reaches, measured", "", head, "", *table]).rstrip()
    RESULTS.mkdir(exist_ok=True)
    result.write_text(f"{text}\n{note}", encoding="utf-8")
    print(text)


def _read_note(path: Path) -> str:
    """Returns what people wrote behind the table, which begins with a heading of its own."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    _, mark, note = text.partition("\n## What it means\n")
    return mark + note


if __name__ == "__main__":
    main()
