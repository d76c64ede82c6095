"""Measures training on a graphics card: exactness of the parts first, then speed and memory.

Needs torch, transformers, safetensors and this program; PEFT is measured where it is installed.
Models have random weights in the shapes of real ones. From the repository:

    python -m tests.benchmarks.gpu --shape llama-1b --shape llama-8b --out gpu.md
    python -m tests.benchmarks.gpu --shape tiny --device cpu      # a dry run
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from studio.core.recipe.schema import AdapterSettings
from studio.core.recipe.schema_train import TrainSettings
from studio.engine.data.collate import MicroBatch, collate_packed
from studio.engine.data.example import Example
from studio.engine.lora.inject import inject
from studio.engine.models.attention import PACKED, get_documents
from studio.engine.models.body import split_model
from studio.engine.models.kernels import load_kernel
from studio.engine.models.recompute import recompute
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train.optimizers import build_optimizer
from studio.engine.train.step import finish_step
from studio.engine.train.tile import tune_tile_rows
from tests.benchmarks.card import Report, get_device
from tests.benchmarks.gpu_parts import check_parts
from tests.benchmarks.training.cases import (
    ALPHA,
    RANK,
    RATE,
    TARGETS,
    Document,
    count_tokens,
    draw_documents,
    sort_by_length,
)
from tests.benchmarks.training.peers import add_peft_adapters, train_in_order

OURS = ("none", "mlp", "all", "offload")
PEERS = ("trainer", "grouped", "recomputing")
DRIVER_BYTES = 1.0 * 2**30
"""What a card loses to the driver's context and the desktop before a program starts."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a model, and the documents it trains on."""

    kind: str
    width: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    head: int
    vocabulary: int
    is_tied: bool
    batch: int = 8
    median: int = 400
    longest: int = 2048

    @property
    def layer_weights(self) -> int:
        """Weights of the linear layers of one layer."""
        attention = 2 * self.width * self.head * (self.heads + self.key_heads)
        return attention + 3 * self.width * self.inner


SHAPES = {
    "tiny": Shape("llama", 64, 128, 2, 4, 2, 16, 512, True, 4, 24, 64),
    "llama-1b": Shape("llama", 2048, 8192, 16, 32, 8, 64, 128256, True),
    "qwen3-4b": Shape("qwen3", 2560, 9728, 36, 32, 8, 128, 151936, True),
    "llama-8b": Shape("llama", 4096, 14336, 32, 32, 8, 128, 128256, False),
}


def build_model(shape: Shape, device: torch.device) -> Any:
    """Returns a frozen model with random weights in bfloat16 on ``device``."""
    config = transformers.AutoConfig.for_model(
        shape.kind,
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=shape.head,
        max_position_embeddings=max(131072, shape.longest),
        tie_word_embeddings=shape.is_tied,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16, trust_remote_code=False
        )
    return model.requires_grad_(False)


def build_documents(shape: Shape, steps: int) -> list[Document]:
    """Returns the documents of so many steps."""
    return draw_documents(
        steps * shape.batch,
        median=shape.median,
        longest=shape.longest,
        vocabulary=shape.vocabulary,
        seed=0,
    )


def measure_ceiling(device: torch.device) -> float:
    """Returns the operations per second of one large product in bfloat16."""
    size = 8192 if device.type == "cuda" else 256
    left, right = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    best = float("inf")
    for _ in range(6):
        start = _read_clock(device)
        for _ in range(4):
            left @ right
        best = min(best, (_read_clock(device) - start) / 4)
    return 2.0 * size**3 / best


def _read_clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Watch:
    """Real tokens per second after the warm-up steps, and the peak of allocated memory."""

    def __init__(self, device: torch.device, shape: Shape, warm_steps: int) -> None:
        self._device, self._shape, self._warm = device, shape, warm_steps
        self._step = 0
        self._start = 0.0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def note_step(self) -> None:
        """Notes that an optimizer step was done."""
        self._step += 1
        if self._step == self._warm:
            self._start = _read_clock(self._device)

    def stop(self, documents: list[Document]) -> tuple[float, float]:
        """Returns tokens per second, and the peak in GiB (0 on the processor)."""
        seconds = _read_clock(self._device) - self._start
        tokens = count_tokens(documents, self._warm * self._shape.batch)
        is_card = self._device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(self._device) if is_card else 0
        return tokens / seconds, peak / 2**30


def pack(documents: list[Document]) -> MicroBatch:
    """Returns the documents in one packed row."""
    return collate_packed([Example(one.ids, one.supervised, 0, 0, "") for one in documents])


def build_trainer(
    shape: Shape, device: torch.device, mode: str, kernel: str = ""
) -> Callable[[MicroBatch], float]:
    """Returns a function that trains one step of ours and returns its loss."""
    model = build_model(shape, device)
    parts = split_model(model)
    settings = AdapterSettings(rank=RANK, alpha=ALPHA, targets=tuple(TARGETS))
    adapter = inject(model, settings, seed=0)
    model.set_attn_implementation(PACKED)
    get_documents(model).kernel = load_kernel(kernel) if kernel else None
    recompute(model, mode)
    model.train()
    task = CausalTask(parts, tune_tile_rows(parts.head, parts.rule))
    optimizer = build_optimizer(adapter, TrainSettings(learning_rate=RATE))
    parameters = adapter.parameters()

    def train(batch: MicroBatch) -> float:
        count = batch.supervised_tokens
        loss = task.add_gradients(batch, count)
        return finish_step(parameters, optimizer, loss, count, RATE, 1.0, step=2).loss

    return train


def run_ours(
    shape: Shape, device: torch.device, documents: list[Document], mode: str, warm: int
) -> tuple[float, float]:
    """Returns tokens per second and peak GiB of ours; ``mode`` may name a kernel behind a plus."""
    train = build_trainer(shape, device, *mode.split("+"))
    watch = Watch(device, shape, warm)
    for start in range(0, len(documents), shape.batch):
        train(pack(documents[start : start + shape.batch]))
        watch.note_step()
    return watch.stop(documents)


def run_peft(
    shape: Shape, device: torch.device, documents: list[Document], mode: str, warm: int
) -> tuple[float, float]:
    """Returns tokens per second and peak GiB of PEFT with transformers' Trainer."""
    model = add_peft_adapters(build_model(shape, device))
    watch = Watch(device, shape, warm)
    ordered = sort_by_length(documents, 0) if mode == "grouped" else documents
    train_in_order(
        model,
        ordered,
        watch.note_step,
        per_device_train_batch_size=shape.batch,
        bf16=True,
        use_cpu=device.type == "cpu",
        gradient_checkpointing=mode == "recomputing",
        logging_strategy="no",
    )
    return watch.stop(ordered)


def count_floor(shape: Shape, documents: list[Document]) -> float:
    """Returns the operations that training one real token needs at least.

    Frozen matrices 4 per weight, adapters 6, head 4 per supervised row, causal attention 7 per
    pair of tokens and width.
    """
    tokens = count_tokens(documents)
    supervised = sum(int(one.supervised.sum()) for one in documents) / tokens
    reach = sum(len(one.ids) ** 2 for one in documents) / tokens
    query, key = shape.heads * shape.head, shape.key_heads * shape.head
    ends = 2 * (shape.width + query) + 2 * (shape.width + key) + 3 * (shape.width + shape.inner)
    per_layer = 4.0 * shape.layer_weights + 6.0 * RANK * ends + 7.0 * query * reach
    return shape.layers * per_layer + 4.0 * supervised * shape.vocabulary * shape.width


def find_longest_context(shape: Shape, device: torch.device, card_gib: float, most: int) -> int:
    """Returns the longest document that trains with ``card_gib`` GiB, in steps of an eighth."""
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(
        min(1.0, (card_gib * 2**30 - DRIVER_BYTES) / total), device
    )
    best, tokens = 0, 512
    try:
        train = build_trainer(shape, device, "all")
        while tokens <= most:
            ids = np.full(tokens, 5, dtype=np.int32)
            train(pack([Document(ids, np.arange(tokens) >= tokens // 2)]))
            best, tokens = tokens, tokens + max(512, tokens // 8)
    except torch.OutOfMemoryError:
        pass
    finally:
        train = None
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    return best


def measure_shape(
    name: str,
    device: torch.device,
    steps: int,
    warm: int,
    ceiling: float,
    kernels: Sequence[str],
    report: Report,
) -> None:
    """Adds one shape's table; a side that fails or runs out of memory says so."""
    shape = SHAPES[name]
    documents = build_documents(shape, steps + warm)
    floor = count_floor(shape, documents)
    report.add(
        f"## {name}: {floor / 1e9:.2f} billion operations per token at least",
        "",
        "| side | real tokens/s | share of the floor | peak GiB |",
        "|---|---|---|---|",
    )
    sides: list[tuple[str, Callable[..., tuple[float, float]], str]] = [
        (f"ours, {mode}", run_ours, mode)
        for mode in (*(f"none+{kernel}" for kernel in kernels), *OURS)
    ]
    if importlib.util.find_spec("peft"):
        sides += [(f"PEFT + Trainer, {mode}", run_peft, mode) for mode in PEERS]
    for title, run, mode in sides:

        def measure(
            title: str = title, run: Callable[..., tuple[float, float]] = run, mode: str = mode
        ) -> Iterator[str]:
            rate, peak = run(shape, device, documents, mode, warm)
            yield f"| {title} | {rate:,.0f} | {rate * floor / ceiling:.0%} | {peak:.2f} |"

        report.attempt(title, measure)
    report.add("")


def main(words: list[str] | None = None) -> None:
    """Measure what the command line asks for and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, action="append")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-steps", type=int, default=5)
    parser.add_argument("--cap", type=float, action="append", help="GiB of an imitated card")
    parser.add_argument("--minutes", type=float, default=9.0, help="no new part begins after them")
    parser.add_argument("--out", type=Path)
    wish = parser.parse_args(words)
    device = get_device(wish.device)
    transformers.utils.logging.set_verbosity_error()
    is_card = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_card else "processor (a dry run)"
    ceiling = measure_ceiling(device)
    report = Report(wish.out, wish.minutes)
    report.add(
        "# Training on a card, measured",
        "",
        f"{name}, torch {torch.__version__}, transformers {transformers.__version__}; one large "
        f"product in bfloat16 reaches {ceiling / 1e12:.1f} trillion operations per second.",
        "",
    )
    kernels = check_parts(device, report)
    for shape in wish.shape or ["llama-1b"]:
        measure_shape(shape, device, wish.steps, wish.warm_steps, ceiling, kernels, report)
        for cap in wish.cap or [] if is_card else []:

            def search(shape: str = shape, cap: float = cap) -> Iterator[str]:
                longest = find_longest_context(SHAPES[shape], device, cap, 1 << 17)
                yield f"| {shape}, a card of {cap:g} GiB | contexts of {longest:,} tokens train |"

            report.attempt(f"{shape}, a card of {cap:g} GiB", search, columns=1)


if __name__ == "__main__":
    main()
