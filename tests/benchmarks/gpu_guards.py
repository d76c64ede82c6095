"""Checks on a graphics card what keeps runs alive there: copies beside the work, memory, waits.

Models have random weights. From the repository:

    python -m tests.benchmarks.gpu_guards --out gpu_guards.md
    python -m tests.benchmarks.gpu_guards --device cpu --small      # a dry run
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from studio.core.memory.recomputing import Recomputing
from studio.core.recipe.schema import AdapterSettings
from studio.engine.data.collate import MicroBatch
from studio.engine.data.example import Example, ExampleStore
from studio.engine.lora.inject import inject
from studio.engine.models.attention import PACKED
from studio.engine.models.body import split_model
from studio.engine.models.kernel_probe import choose_kernel
from studio.engine.models.offload_saved import offload_saved
from studio.engine.models.offload_weights import offload_weights
from studio.engine.models.recompute import recompute_each
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train.resolve import Resolved
from studio.engine.train.search import TokenSearch
from tests.benchmarks.card import Report, get_device
from tests.benchmarks.gpu import SHAPES, Shape, build_documents, build_model, pack

CPU = torch.device("cpu")
SHAPE = replace(SHAPES["llama-1b"], layers=8)
REPEATS = 5
_MOST_DIFFERENCE = 5e-2

Gradients = list[torch.Tensor]


class Trained:
    """A model with an adapter whose layers are treated in one of the ways to compare."""

    def __init__(self, shape: Shape, device: torch.device, way: str) -> None:
        visits = way == "weights visit"
        self.model = build_model(shape, CPU if visits else device)
        settings = AdapterSettings(rank=16, alpha=32.0)
        self.adapter = inject(self.model, settings, seed=0)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in self.adapter.parameters():
                values = torch.randn(parameter.shape, generator=generator) * 0.02
                parameter.add_(values.to(parameter.device))
        self.offload = offload_weights(self.model, device) if visits else None
        self.task = CausalTask(split_model(self.model))
        self.kernel = choose_kernel(self.model, "auto").value if way == "kernel" else "sdpa"
        self.model.set_attn_implementation(PACKED)
        if way == "results moved":
            offload_saved(self.model)
        if way == "mixed":
            third = shape.layers // 3
            recompute_each(self.model, Recomputing(shape.layers - 2 * third, third, third))
        self.model.train()

    def get_gradients(self, batch: MicroBatch) -> Gradients:
        """Returns the gradients of the adapter in 32 bits, on the processor."""
        self.task.add_gradients(batch, batch.supervised_tokens)
        found = [
            one.grad.float().cpu() for one in self.adapter.parameters() if one.grad is not None
        ]
        for parameter in self.adapter.parameters():
            parameter.grad = None
        return found


WAYS = ("mixed", "results moved", "weights visit", "kernel")


def compare_ways(shape: Shape, device: torch.device, report: Report) -> None:
    """Adds one line per way: its largest difference from plain training, time and memory."""
    batch = pack(build_documents(shape, 1))
    expected: Gradients = []

    def train_plainly() -> Iterator[str]:
        plain = Trained(shape, device, "plain")
        expected.extend(plain.get_gradients(batch))
        seconds, peak = _measure(partial(plain.get_gradients, batch), device)
        yield f"| plain | | {seconds:.3f} | {peak / 2**30:.2f} |"

    report.attempt("plain", train_plainly)
    for way in WAYS:
        report.attempt(way, partial(_compare_way, shape, device, way, batch, expected))


def _compare_way(
    shape: Shape, device: torch.device, way: str, batch: MicroBatch, expected: Gradients
) -> Iterator[str]:
    trained = Trained(shape, device, way)
    difference = 0.0
    for _ in range(REPEATS):  # copies beside the work go wrong only now and then
        found = trained.get_gradients(batch)
        difference = max(
            difference,
            *(
                float((one - other).norm() / (other.norm() + 1e-9))
                for one, other in zip(found, expected, strict=True)
            ),
        )
    seconds, peak = _measure(partial(trained.get_gradients, batch), device)
    name = f"{way} ({trained.kernel})" if way == "kernel" else way
    verdict = "" if difference < _MOST_DIFFERENCE else ", WRONG"
    yield f"| {name} | {difference:.1e}{verdict} | {seconds:.3f} | {peak / 2**30:.2f} |"


def _measure(run: Callable[[], Any], device: torch.device) -> tuple[float, int]:
    if device.type != "cuda":
        start = time.perf_counter()
        run()
        return time.perf_counter() - start, 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start, int(torch.cuda.max_memory_allocated(device))


def search_on_card(shape: Shape, device: torch.device) -> str:
    """Returns what the search for the tokens at once found, and how long it took."""
    trained = Trained(shape, device, "kernel")
    documents = build_documents(replace(shape, batch=64), 1)
    rows = ExampleStore(
        ((example, 0) for example in _build_examples(documents)), sources=("made.jsonl",)
    )
    search = TokenSearch(trained.task, trained.adapter, rows, packs=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = search.find(Resolved(2048, "the rule"), 64, Path(folder), "gpu_guards")
    seconds = time.perf_counter() - start
    return f"The search took {seconds:.2f} s and chose {found.value} tokens ({found.why})."


def _build_examples(documents: list[Any]) -> Iterator[Any]:
    for one in documents:
        yield Example(one.ids, one.supervised, 0, 1, "made.jsonl")


def count_waits(shape: Shape, device: torch.device) -> str:
    """Returns whether forward and backward wait for the card: torch raises an error if so."""
    trained = Trained(shape, device, "kernel")
    batch = pack(build_documents(shape, 1))
    trained.task.add_gradients(batch, batch.supervised_tokens)
    with _waits_forbidden():
        trained.task.add_gradients(batch, batch.supervised_tokens)
    return "Forward and backward never wait for the card."


@contextmanager
def _waits_forbidden() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def main(words: list[str] | None = None) -> None:
    """Check what the command line asks for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--minutes", type=float, default=9.0, help="no new part begins after them")
    parser.add_argument("--out", type=Path)
    wish = parser.parse_args(words)
    device = get_device(wish.device)
    shape = replace(SHAPES["tiny"], layers=4) if wish.small else SHAPE
    report = Report(wish.out, wish.minutes)
    report.add(
        "# Guards on a card, checked",
        "",
        "| way | largest difference of a gradient | seconds | peak GiB |",
        "|---|---|---|---|",
    )
    compare_ways(shape, device, report)
    report.add("")
    if device.type == "cuda":
        for title, run in (("search", search_on_card), ("waits", count_waits)):
            report.attempt(title, lambda run=run: [run(shape, device)], columns=1)


if __name__ == "__main__":
    main()
