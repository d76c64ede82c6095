"""The same run by peft, AdamW and padded batches in a plain loop."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from tests.benchmarks.quality.table import Kept
from tests.benchmarks.quality.work import (
    BASE,
    BATCH,
    SEEDS,
    STEPS,
    at,
    build_layout,
    mean,
    measure,
    read_documents,
    sum_loss,
    train_ours,
)

TABLES = ["embed_tokens", "lm_head"]


def train_peft(data: Path, rate: float, seed: int, extras: list[str] | None = None) -> float:
    """Returns the loss on the held-out rows; the training rows come in another order."""
    import peft

    rows = read_documents(data)
    torch.manual_seed(seed)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(BASE, use_safetensors=True)
    config = peft.LoraConfig(
        r=16, lora_alpha=32, target_modules="all-linear", modules_to_save=extras
    )
    model = peft.get_peft_model(model, config).train()
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    scale = transformers.get_cosine_schedule_with_warmup(optimizer, int(0.03 * STEPS), STEPS)
    order = np.random.default_rng(seed).permutation(len(rows.train))
    for step in range(STEPS):
        chosen = [rows.train[int(i)] for i in order[step * BATCH : (step + 1) * BATCH]]
        loss, count = sum_loss(model, chosen)
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        scale.step()
        optimizer.zero_grad()
    return measure(model, rows)


def compare_with_peft(data: Path, kept: Kept) -> Iterator[str]:
    """Yields the lines of the tables of seeds: an adapter, and one beside trained word tables."""
    del kept
    for extras, rate in ((None, 5e-3), (TABLES, 1e-2)):
        beside = " and both word tables" if extras else ""
        ours = [
            train_ours(build_layout(data, {"extra_modules": extras or []}, at(rate, seed)))
            for seed in SEEDS
        ]
        theirs = [train_peft(data, rate, seed, extras) for seed in SEEDS]
        yield (
            f"## Against peft: {STEPS} steps of {BATCH} rows, rank 16{beside}, rate {rate}, cosine"
        )
        yield ""
        seeds = " | ".join(f"seed {seed}" for seed in SEEDS)
        yield f"| | {seeds} | mean | standard deviation |"
        yield "|---" * (len(SEEDS) + 3) + "|"
        for name, losses in (("ours", ours), ("peft, plain loop", theirs)):
            cells = " | ".join(f"{loss:.4f}" for loss in losses)
            yield f"| {name} | {cells} | {mean(losses):.4f} | {statistics.stdev(losses):.4f} |"
        gap = mean(ours) - mean(theirs)
        noise = math.sqrt((statistics.variance(ours) + statistics.variance(theirs)) / len(SEEDS))
        yield ""
        yield f"Difference of the means {gap:+.4f}, standard error of the difference {noise:.4f}."
        yield ""
