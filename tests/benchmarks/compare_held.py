"""Measures what answers cost over bases in few bits, against the base in full size.

Run it as ``python -m tests.benchmarks.compare_held``; it writes ``results/compare_held.md``. Times
are processor seconds, all ways in turns, as in ``compare_speed``, whose models and adapters it
uses.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers

from tests.benchmarks.compare_speed import RANK, RESULTS, SHAPES, Bench, Way
from tests.engine.quant.tiny_quantised import quantise_model

KINDS = ("none", "nf4", "int8")


class HeldBench(Bench):
    """The same model held in several ways."""

    def measure_kinds(self) -> dict[tuple[str, int], float]:
        """Returns the seconds of one answer token by kind and count of columns."""
        dense = self.base
        ways: dict[str, Way] = {}
        for kind in KINDS:
            base = copy.deepcopy(dense)
            held = base if kind == "none" else quantise_model(base, kind)
            for count in self.arguments.counts:
                ways[f"{kind} {count}"] = lambda held=held, count=count: self._answer(held, count)
        seconds = self._time(ways)
        tokens = self.arguments.answer_tokens
        return {
            (kind, count): seconds[f"{kind} {count}"] / tokens
            for kind in KINDS
            for count in self.arguments.counts
        }

    def _answer(self, held: torch.nn.Module, count: int) -> object:
        self.base, dense = held, self.base
        try:
            return self._make_stacked(self.folders[:count])
        finally:
            self.base = dense


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", default="llama-41m", choices=sorted(SHAPES))
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--answer-tokens", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "compare_held.md")
    parser.set_defaults(device="cpu", minutes=60.0, skip_peers=True)
    arguments = parser.parse_args(words)
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as place:
        bench = HeldBench(arguments, Path(place))
        report = _build_report(bench, bench.measure_kinds())
    arguments.out.write_text(report, encoding="utf-8")
    print(report)


def _build_report(bench: HeldBench, seconds: dict[tuple[str, int], float]) -> str:
    arguments = bench.arguments
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    lines = [
        "# Answers over bases in few bits",
        "",
        f"A random Llama of {bench.weights / 1e6:.0f} million weights, its products in float32, "
        f"every column with its own adapter of rank {RANK} on all linear layers; "
        f"{arguments.threads} thread(s), {platform.machine()}, torch {torch.__version__}. "
        "Processor seconds of one step (one token in each column, the prompt's share included), "
        f"all ways in turns (load average of the shared machine {load}), least of "
        f"{arguments.repeats} run(s) after a first one, {arguments.answer_tokens} tokens each.",
        "",
        "| base held as | columns | one step | against full size | against one column |",
        "|---|---|---|---|---|",
    ]
    least = min(arguments.counts)
    for (kind, count), value in seconds.items():
        lines.append(
            f"| {kind} | {count} | {value * 1e3:.0f} ms | {value / seconds['none', count]:.2f}x | "
            f"{value / seconds[kind, least]:.2f}x |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
