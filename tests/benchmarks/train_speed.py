"""Measures training against PEFT with transformers' Trainer: CPU seconds, memory, losses.

Each run is a process of its own with one thread; the sides take turns within a round, and every
ratio is taken within its round. From the repository:

    python -m tests.benchmarks.train_speed --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers

from studio.core.jobs.command import build_environment
from tests.benchmarks.training.cases import (
    ALPHA,
    BATCH,
    CASES,
    RANK,
    RATE,
    TARGETS,
    WARM_STEPS,
    Case,
    Document,
    build_documents,
    build_model,
    count_tokens,
    iter_batches,
    sort_by_length,
)
from tests.benchmarks.training.peers import run_peft, run_trl
from tests.benchmarks.training.stopwatch import Stopwatch

RESULT = Path(__file__).parent / "results" / "train_speed.md"
SIDES = {
    "trainer": "PEFT + Trainer",
    "grouped": "PEFT + Trainer, length-grouped",
    "trl": "TRL as it is set by default",
    "trl_packed": "TRL, packed",
    "none": "ours",
    "mlp": "ours, MLPs recomputed",
    "all": "ours, layers recomputed",
    "none_1024": "ours, 1,024 tokens at once",
    "all_1024": "ours, layers recomputed, 1,024 tokens at once",
}
PEERS = ("trainer", "grouped", "trl", "trl_packed")


def run_ours(
    case: Case, documents: list[Document], dtype: torch.dtype, mode: str, at_once: int | None
) -> dict[str, Any]:
    """Trains with this program's own parts on packed rows of at most ``at_once`` tokens."""
    from studio.core.recipe.schema import AdapterSettings
    from studio.core.recipe.schema_train import TrainSettings
    from studio.engine.data.collate import collate_packed
    from studio.engine.data.example import Example
    from studio.engine.lora.inject import inject
    from studio.engine.models.attention import PACKED
    from studio.engine.models.body import split_model
    from studio.engine.models.heap import return_large_pieces
    from studio.engine.models.recompute import recompute
    from studio.engine.tasks.causal_lm import CausalTask
    from studio.engine.train.optimizers import build_optimizer
    from studio.engine.train.step import finish_step
    from studio.engine.train.tile import tune_tile_rows

    model = build_model(case).to(dtype).requires_grad_(False)
    parts = split_model(model)
    adapter = inject(model, AdapterSettings(rank=RANK, alpha=ALPHA, targets=tuple(TARGETS)), seed=0)
    model.set_attn_implementation(PACKED)
    recompute(model, mode)
    return_large_pieces()
    watch = Stopwatch()
    task = CausalTask(parts, tune_tile_rows(parts.head, parts.rule))
    optimizer = build_optimizer(adapter, TrainSettings(learning_rate=RATE))
    model.train()
    for step, batch in enumerate(iter_batches(documents)):
        count = sum(int(one.supervised.sum()) for one in batch)
        loss = torch.zeros(())
        for piece in _divide(batch, at_once):
            packed = collate_packed([Example(one.ids, one.supervised, 0, 0, "") for one in piece])
            loss += task.add_gradients(packed, count)
        done = finish_step(adapter.parameters(), optimizer, loss, count, RATE, 1.0, step=step + 1)
        watch.losses.append(done.loss)
        watch.note_step()
    return watch.stop(count_tokens(documents, WARM_STEPS * BATCH))


def _divide(documents: list[Document], at_once: int | None) -> Iterator[list[Document]]:
    """Yields the documents of a step in pieces of at most ``at_once`` tokens."""
    piece: list[Document] = []
    for one in documents:
        if at_once and piece and sum(len(it.ids) for it in [*piece, one]) > at_once:
            yield piece
            piece = []
        piece.append(one)
    yield piece


def run_side(case_name: str, dtype_name: str, side: str, steps: int) -> dict[str, Any]:
    """Runs one side in this process and returns what was measured."""
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    case, dtype = CASES[case_name], getattr(torch, dtype_name)
    documents = build_documents(case, steps * BATCH)
    # The Trainer and this program count the same documents, when their memory has seen the longest
    # of them; TRL draws its own order from these and packs them as it likes.
    warm = sorted(documents, key=lambda one: len(one.ids))[-WARM_STEPS * BATCH :]
    if side == "grouped":
        documents = sort_by_length(documents, case.seed)
    documents = [*warm, *documents]
    if side in ("trainer", "grouped"):
        return run_peft(case, documents, dtype)
    if side in ("trl", "trl_packed"):
        return run_trl(case, documents, dtype, packs=side == "trl_packed")
    mode, _, at_once = side.partition("_")
    return run_ours(case, documents, dtype, mode, int(at_once) if at_once else None)


def measure(case: str, dtype: str, side: str, steps: int) -> dict[str, Any]:
    """Runs one side in a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.train_speed", "--side", side]
    command += ["--case", case, "--dtype", dtype, "--steps", str(steps)]
    one_thread = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    # this program starts its own jobs like that
    environment = (os.environ if side in PEERS else build_environment()) | one_thread
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_table(case: Case, dtype: str, rounds: list[dict[str, dict[str, Any]]]) -> list[str]:
    """Returns the lines of one table, median and range over the rounds."""
    lines = [
        f"## {case.title}, {dtype}",
        "",
        "| side | tokens per CPU second | against Trainer | against length-grouped | "
        "against TRL | against TRL, packed | extra peak MiB | first and last loss |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for side, title in SIDES.items():
        runs = [one[side] for one in rounds]
        rates = [_rate(run) for run in runs]
        losses = runs[0]["losses"]
        lines.append(
            f"| {title} | {statistics.median(rates):,.0f} | "
            f"{' | '.join(_tell(rounds, side, peer) for peer in PEERS)} | "
            f"{statistics.median(run['extra'] for run in runs) / 2**20:,.0f} | "
            f"{losses[0]:.4f}, {losses[-1]:.4f} |"
        )
    return [*lines, ""]


def _tell(rounds: list[dict[str, dict[str, Any]]], side: str, peer: str) -> str:
    """Returns how many times as fast as ``peer`` a side was, within each round."""
    values = [_rate(one[side]) / _rate(one[peer]) for one in rounds]
    spread = f" [{min(values):.2f}-{max(values):.2f}]" if len(values) > 1 else ""
    return f"{statistics.median(values):.2f}{spread}"


def _rate(run: dict[str, Any]) -> float:
    return float(run["tokens"] / run["seconds"])


def main() -> None:
    """Measure everything and write the table, or run one side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), action="append")
    parser.add_argument("--side", choices=SIDES)
    wish = parser.parse_args()
    cases, dtypes = wish.case or list(CASES), wish.dtype or ["float32", "bfloat16"]
    if wish.side:
        print(json.dumps(run_side(cases[0], dtypes[0], wish.side, wish.steps)))
        return
    lines = [
        "# Training speed, measured",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, one thread, torch {torch.__version__}, "
        f"transformers {transformers.__version__}; random weights and tokens. LoRA of rank {RANK} "
        f"on all linear layers, {BATCH} documents per step, lengths lognormal. Each run is a "
        f"process of its own with {wish.steps} counted steps behind a first one, on the longest "
        f"documents except with TRL, which draws its own order; {wish.rounds} rounds, the sides "
        "take turns; ratios within a round, median "
        "[smallest-largest]. One core was free for it; others worked on the second. Both sides of "
        "PEFT compute with autocast in bfloat16, as the Trainer does. The seeds were chosen "
        "so that random batches hold as much filler as in the long run (2.08 and 1.94 computed "
        "tokens per real one); 53 and 56 % of the tokens are supervised. TRL recomputes layers by "
        "default; its packed rows are as long as the longest document, and as many per step as "
        'hold the step\'s documents. "At once" divides a step into smaller pieces '
        "with the same result, as the program does by itself where memory is short.",
        "",
    ]
    for name in cases:
        for dtype in dtypes:
            rounds = []
            for _ in range(wish.rounds):
                rounds.append({side: measure(name, dtype, side, wish.steps) for side in SIDES})
                print(f"{name} {dtype}: round {len(rounds)}", file=sys.stderr, flush=True)
            lines += write_table(CASES[name], dtype, rounds)
            RESULT.parent.mkdir(exist_ok=True)
            RESULT.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
