"""Measures what training reaches: against peft, against full fine-tuning, by optimizer and start.

A real pretrained model of 260,032 parameters learns to describe restaurants (E2E). From the
repository, with the material beside it:

    python -m tests.benchmarks.quality --part peft
    python -m tests.benchmarks.quality --part optimizers --only schedule_free

The second way measures one side anew and keeps the other lines of the table.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from studio.core.events.types import ValidationFinished
from studio.core.jobs.orders import TrainOrder
from studio.core.recipe.load import load_recipe, parse_recipe
from studio.core.recipe.save import save_recipe
from studio.core.runs.layout import RunLayout
from studio.engine.export.merged import export_merged
from studio.engine.prune.folder import prune_model
from tests.engine.tiny_run import of_type, train_run, write_order

RESULTS = Path(__file__).parent / "results"
MATERIAL = Path(__file__).resolve().parents[3] / "shared" / "material"
BASE = MATERIAL / "models" / "stories260K-hf"
STARTER = Path(__file__).resolve().parents[2] / "resources" / "starter"
BATCH, STEPS, SEEDS = 16, 200, (0, 1, 2)
FEW_ROWS = 400
KEEPS = {"keep_zeros": True}
TRAIN_ROWS, VALIDATION_ROWS = 8000, 600
WORK = (
    f"A pretrained Llama of 260,032 parameters on E2E: {TRAIN_ROWS:,} training rows, "
    f"{VALIDATION_ROWS} held-out rows."
)
STARTER_WORK = (
    "The starter kit's own chat model on its own sets of 480 rows; every fifth is held out."
)


def write_rows(folder: Path) -> None:
    """Writes E2E as prompts and answers, every line once per meaning in the validation file."""
    texts = gzip.decompress((MATERIAL / "data/e2e/train.txt.gz").read_bytes()).decode("utf-8")
    lines = texts.splitlines()
    picked = np.random.default_rng(0).permutation(len(lines))[:TRAIN_ROWS]
    _write(folder / "train.jsonl", [lines[index] for index in picked])
    held = (MATERIAL / "data/e2e/valid.txt").read_text(encoding="utf-8").splitlines()
    _write(folder / "held.jsonl", held[:: len(held) // VALIDATION_ROWS][:VALIDATION_ROWS])


def _write(path: Path, lines: list[str]) -> None:
    rows = (line.split("||", 1) for line in lines)
    texts = (json.dumps({"prompt": f"{a} ->", "response": f" {b.strip()}"}) for a, b in rows)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")


def build_layout(
    data: Path,
    adapter: dict[str, Any],
    train: dict[str, Any],
    base: Path = BASE,
    quantisation: str = "none",
) -> RunLayout:
    """Writes the recipe of a new run on the files in ``data``."""
    folder = Path(tempfile.mkdtemp(dir=data))
    layout = RunLayout(folder)
    recipe = {
        "name": folder.name,
        "base": {"model": str(base), "quantisation": quantisation},
        "data": {
            "train": [{"source": str(data / "train.jsonl")}],
            "validation": [{"source": str(data / "held.jsonl")}],
        },
        "adapter": {"rank": 16, "alpha": 32.0} | adapter,
        "train": {
            "steps": STEPS,
            "batch_sequences": BATCH,
            "evaluate_every_steps": train.get("steps", STEPS),
            "schedule": "cosine",
        }
        | train,
    }
    save_recipe(parse_recipe(recipe), layout.recipe)
    write_order(layout, TrainOrder(base_folder=str(folder)))
    return layout


def train_ours(
    data: Path,
    adapter: dict[str, Any],
    train: dict[str, Any],
    base: Path = BASE,
    quantisation: str = "none",
) -> float:
    """Returns the validation loss after a run of the program's own training job."""
    events = train_run(build_layout(data, adapter, train, base, quantisation))
    return float(of_type(events, ValidationFinished)[-1].loss)


def train_peft(data: Path, rate: float, seed: int) -> float:
    """Returns the same with peft, AdamW and padded batches in a plain loop, in another order."""
    import peft

    from studio.engine.data.prepare import prepare
    from studio.engine.models.files import load_tokenizer

    recipe = load_recipe(build_layout(data, {}, {}).recipe)
    rows = prepare(recipe.data, load_tokenizer(BASE), 512, base_folder=data)
    torch.manual_seed(seed)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(BASE, use_safetensors=True)
    config = peft.LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
    model = peft.get_peft_model(model, config).train()
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    scale = transformers.get_cosine_schedule_with_warmup(optimizer, int(0.03 * STEPS), STEPS)
    order = np.random.default_rng(seed).permutation(len(rows.train))
    for step in range(STEPS):
        chosen = [rows.train[int(i)] for i in order[step * BATCH : (step + 1) * BATCH]]
        loss, count = _sum_loss(model, chosen)
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        scale.step()
        optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        held = [rows.validation[i] for i in range(len(rows.validation))]
        sums = [_sum_loss(model, held[i : i + 32]) for i in range(0, len(held), 32)]
    return float(sum(loss for loss, _ in sums)) / sum(count for _, count in sums)


def _sum_loss(model: Any, documents: list[Any]) -> tuple[torch.Tensor, int]:
    shape = (len(documents), max(len(one.ids) for one in documents))
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, -100)
    for row, one in enumerate(documents):
        own = torch.from_numpy(np.asarray(one.ids, dtype=np.int64))
        ids[row, : len(own)], mask[row, : len(own)] = own, 1
        kept = torch.from_numpy(np.asarray(one.supervised, dtype=bool))
        labels[row, : len(own)] = torch.where(kept, own, -100)
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].flatten(0, 1)
    targets = labels[:, 1:].flatten()
    loss = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
    return loss, int((targets != -100).sum())


def compare_with_peft(data: Path) -> Iterator[str | None]:
    """Yields the lines of the table of seeds."""
    rate = 5e-3
    ours = [train_ours(data, {}, {"learning_rate": rate, "seed": seed}) for seed in SEEDS]
    peft = [train_peft(data, rate, seed) for seed in SEEDS]
    yield f"## Against peft: {STEPS} steps of {BATCH} rows, rank 16, rate {rate}, cosine"
    yield ""
    yield "| | " + " | ".join(f"seed {seed}" for seed in SEEDS) + " | mean | standard deviation |"
    yield "|---" * (len(SEEDS) + 3) + "|"
    for name, losses in (("ours", ours), ("peft, plain loop", peft)):
        cells = " | ".join(f"{loss:.4f}" for loss in losses)
        yield f"| {name} | {cells} | {_mean(losses):.4f} | {statistics.stdev(losses):.4f} |"
    gap = _mean(ours) - _mean(peft)
    noise = math.sqrt((statistics.variance(ours) + statistics.variance(peft)) / len(SEEDS))
    yield ""
    yield f"Difference of the means {gap:+.4f}, standard error of the difference {noise:.4f}."


def compare_with_full(data: Path) -> Iterator[str | None]:
    """Yields the table of LoRA and full fine-tuning, each at the best of its rates."""
    steps = 600
    yield f"## Against full fine-tuning: {steps} steps, each side at the best of its rates"
    yield ""
    yield "| side | rates tried (loss, seed 0) | best rate | by seed | mean | against full |"
    yield "|---|---|---|---|---|---|"
    means: dict[str, float] = {}
    sides: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
        "every weight": ({"rank": "full"}, (1e-3, 2e-3, 4e-3, 8e-3)),
        "LoRA, rank 16": ({}, (2.5e-3, 5e-3, 1e-2, 2e-2)),
        "LoRA, rank 64": ({"rank": 64, "alpha": 64.0}, (2.5e-3, 5e-3, 1e-2, 2e-2)),
        "LoRA, rank 64, and the word table": (
            {"rank": 64, "alpha": 64.0, "extra_modules": ["embed_tokens"]},
            (2.5e-3, 5e-3, 1e-2, 2e-2),
        ),
    }
    for name, (adapter, rates) in sides.items():
        yield _tune(data, name, adapter, {"steps": steps}, rates, means)


def compare_on_few_rows(data: Path) -> Iterator[str | None]:
    """Yields the table of LoRA and full fine-tuning where there are few rows."""
    folder = data / "few"
    folder.mkdir()
    lines = (data / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join(lines[:FEW_ROWS]), encoding="utf-8")
    (folder / "held.jsonl").write_bytes((data / "held.jsonl").read_bytes())
    steps = 100
    yield f"## {FEW_ROWS} training rows only, {steps} steps, each side at the best of its rates"
    yield ""
    yield "| side | rates tried (loss, seed 0) | best rate | by seed | mean | against full |"
    yield "|---|---|---|---|---|---|"
    means: dict[str, float] = {}
    tables = {"extra_modules": ["embed_tokens"]}
    sides: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
        "every weight": ({"rank": "full"}, (2e-3, 4e-3, 8e-3, 1.6e-2)),
        "LoRA, rank 16": ({}, (5e-3, 1e-2, 2e-2)),
        "LoRA, rank 64": ({"rank": 64, "alpha": 64.0}, (5e-3, 1e-2, 2e-2)),
        "LoRA, rank 16, and the word table": (tables, (5e-3, 1e-2, 2e-2)),
    }
    for name, (adapter, rates) in sides.items():
        yield _tune(folder, name, adapter, {"steps": steps}, rates, means)


def compare_on_starter(data: Path) -> Iterator[str | None]:
    """Yields the tables of LoRA and full fine-tuning of the starter, which speaks already."""
    for name in ("pirate", "json"):
        folder = data / name
        folder.mkdir()
        lines = (STARTER / "data" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        held = set(lines[::5])
        for file, kept in (("train", set(lines) - held), ("held", held)):
            text = "\n".join(line for line in lines if line in kept)
            (folder / f"{file}.jsonl").write_text(text, encoding="utf-8")
        yield f"## The starter kit's set `{name}`: 90 steps, each side at the best of its rates"
        yield ""
        yield "| side | rates tried (loss, seed 0) | best rate | by seed | mean | against full |"
        yield "|---|---|---|---|---|---|"
        means: dict[str, float] = {}
        sides: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
            "every weight": ({"rank": "full"}, (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)),
            "LoRA, rank 16": ({}, (2.5e-3, 5e-3, 1e-2, 2e-2)),
            "LoRA, rank 64": ({"rank": 64, "alpha": 64.0}, (1.25e-3, 2.5e-3, 5e-3, 1e-2)),
        }
        for side, (adapter, rates) in sides.items():
            train = {"steps": 90}
            yield _tune(folder, side, adapter, train, rates, means, STARTER / "model")
        yield ""


def compare_optimizers(data: Path) -> Iterator[str | None]:
    """Yields the table of optimizers, each at the best of its rates."""
    yield f"## Optimizers: {STEPS} steps, rank 16, each at the best of its rates"
    yield ""
    yield "| optimizer | rates tried (loss, seed 0) | best rate | by seed | mean | against AdamW |"
    yield "|---|---|---|---|---|---|"
    means: dict[str, float] = {}
    for name, rates in {
        "adamw": (2.5e-3, 5e-3, 1e-2, 2e-2),
        "lion": (2.5e-4, 5e-4, 1e-3, 2e-3),
        "adafactor": (2.5e-3, 5e-3, 1e-2, 2e-2),
        "muon": (5e-3, 1e-2, 2e-2, 4e-2),
        "schedule_free": (5e-3, 1e-2, 2e-2, 4e-2),
    }.items():
        yield _tune(data, name, {}, {"optimizer": name}, rates, means)


def compare_inits(data: Path) -> Iterator[str | None]:
    """Yields the table of start values, each at the best of its rates."""
    yield f"## Start values: {STEPS} steps, rank 16, AdamW, each at the best of its rates"
    yield ""
    yield "| start | rates tried (loss, seed 0) | best rate | by seed | mean | against kaiming |"
    yield "|---|---|---|---|---|---|"
    means: dict[str, float] = {}
    rates = (2.5e-3, 5e-3, 1e-2, 2e-2)
    for name in ("kaiming", "gaussian", "eva", "pissa", "olora"):
        yield _tune(data, name, {"init": name}, {}, rates, means)
    for name in ("kaiming", "loftq"):
        side = f"{name}, base in nf4"
        yield _tune(data, side, {"init": name}, {}, rates, means, quantisation="nf4")


def compare_pruned(data: Path) -> Iterator[str | None]:
    """Yields the table of bases with zeros: before, with an adapter, merged around the zeros."""
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
        cells = (_measure(data, base), *plain, known[0])
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
        layout = build_layout(data, adapter, _at(rate, seed), base)
        loss = of_type(train_run(layout), ValidationFinished)[-1].loss
        found.append((loss, *(_measure_merged(data, base, layout, k) for k in (False, True))))
    return tuple(_mean(list(column)) for column in zip(*found, strict=True))


def _measure_merged(data: Path, base: Path, layout: RunLayout, keeps_zeros: bool) -> float:
    with tempfile.TemporaryDirectory(dir=data) as scratch:
        target = Path(scratch) / "merged"
        for _ in export_merged(base, layout.adapter, target, keeps_zeros=keeps_zeros):
            pass
        return _measure(data, target)


@torch.no_grad()
def _measure(data: Path, folder: Path) -> float:
    """Returns what transformers finds for a model on the held-out rows."""
    from studio.engine.data.prepare import prepare
    from studio.engine.models.files import load_tokenizer

    recipe = load_recipe(build_layout(data, {}, {}).recipe)
    rows = prepare(recipe.data, load_tokenizer(BASE), 512, base_folder=data)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
    held = [rows.validation[i] for i in range(len(rows.validation))]
    sums = [_sum_loss(model.eval(), held[i : i + 32]) for i in range(0, len(held), 32)]
    return float(sum(loss for loss, _ in sums)) / sum(count for _, count in sums)


def _tune(
    data: Path,
    name: str,
    adapter: dict[str, Any],
    train: dict[str, Any],
    rates: tuple[float, ...],
    means: dict[str, float],
    base: Path = BASE,
    quantisation: str = "none",
) -> str | None:
    """Returns a row of a table; ``means`` starts with the side that others are compared with."""
    if ONLY and name not in ONLY:
        if name not in KEPT:
            return None
        means[name] = float(KEPT[name].split("|")[5])
        return KEPT[name]

    def measure(rate: float, seed: int) -> float:
        loss = train_ours(data, adapter, train | _at(rate, seed), base, quantisation)
        print(f"{name}, rate {rate:g}, seed {seed}: {loss:.4f}", flush=True)
        return loss

    tried = {rate: measure(rate, SEEDS[0]) for rate in rates}
    best = min(tried, key=lambda rate: tried[rate])
    losses = [tried[best], *(measure(best, seed) for seed in SEEDS[1:])]
    means[name] = _mean(losses)
    cells = (
        ", ".join(f"{rate:g}: {loss:.3f}" for rate, loss in tried.items()),
        f"{best:g}" + (" (edge)" if best in (rates[0], rates[-1]) else ""),
        ", ".join(f"{loss:.4f}" for loss in losses),
        f"{means[name]:.4f}",
        f"{means[name] / next(iter(means.values())) - 1:+.1%}",
    )
    line = f"| {name} | " + " | ".join(cells) + " |"
    print(line, flush=True)
    return line


def _at(rate: float, seed: int) -> dict[str, Any]:
    return {"learning_rate": rate, "seed": seed}


def _mean(values: list[float]) -> float:
    return statistics.fmean(values)


ONLY: set[str] = set()
"""The sides to measure; all where it is empty."""
KEPT: dict[str, str] = {}
"""The lines that the table has already, by the side."""

PARTS: dict[str, Callable[[Path], Iterator[str | None]]] = {
    "peft": compare_with_peft,
    "full": compare_with_full,
    "few": compare_on_few_rows,
    "optimizers": compare_optimizers,
    "inits": compare_inits,
    "pruned": compare_pruned,
    "starter": compare_on_starter,
}


FOREIGN = (
    "What it means: this base has read children's stories only, and the loss falls from 4.48. That "
    "is more like pretraining than fine-tuning, and there LoRA stays behind. It is not for want of "
    "room: rank 64 is as wide as this model's layers, and the word table beside it changes little. "
    "Where a base speaks already (quality_starter.md), rank 16 reaches what full fine-tuning does."
)
NOTES = {
    "full": FOREIGN,
    "few": FOREIGN,
    "pruned": "What it means: an adapter that knows the zeros learns a little less, because it can "
    "change half (or a quarter) of the weights only, and keeps all of it in a model as sparse as "
    "its base. One that does not know them loses most of what it learnt when they are kept.",
    "starter": "What it means: with a base that speaks already and a few hundred rows, LoRA of "
    "rank 16 is within 2 % of full fine-tuning or better. For a base that has to learn a new "
    "language this does not hold (quality_full.md, quality_few.md).",
}
"""What follows a table."""


def main() -> None:
    """Measure one part and write its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--only", action="append", help="a side to measure; others keep their line")
    wish = parser.parse_args()
    result = RESULTS / f"quality_{wish.part}.md"
    if wish.only:
        lines = result.read_text(encoding="utf-8").splitlines() if result.exists() else []
        named = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
        KEPT.update(named)
        ONLY.update(wish.only)
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as scratch:
        write_rows(Path(scratch))
        table = [line for line in PARTS[wish.part](Path(scratch)) if line is not None]
    head = (
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, float32. "
        f"{STARTER_WORK if wish.part == 'starter' else WORK} Numbers are nats per supervised token "
        "on the held-out rows after the last step; all linear layers carry an adapter."
    )
    end = ["", NOTES[wish.part]] if wish.part in NOTES else []
    text = "\n".join(["# What training reaches, measured", "", head, "", *table, *end, ""])
    RESULTS.mkdir(exist_ok=True)
    result.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
