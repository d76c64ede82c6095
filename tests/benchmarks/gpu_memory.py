"""Compares forecast and measured peak memory on a graphics card, with shapes of real models.

Run on a machine with a card:  python tests/benchmarks/gpu_memory.py [--out FILE.md]
Anywhere, to see that it runs:  python tests/benchmarks/gpu_memory.py --dry-run

The weights are random: memory does not depend on their values, and nothing has to be downloaded.
Every recipe is measured by the program's own dry run in a child process, which sees all that the
card loses to it: driver context, weights, working memory, gaps of the allocator.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", OMP_WAIT_POLICY="PASSIVE")

import torch
import transformers

from studio.core.events.types import DryRunMeasured, RowsCounted, RunFailed
from studio.core.jobs.follow import follow
from studio.core.jobs.orders import MeasureOrder
from studio.core.jobs.process import start_job
from studio.core.memory.card import DeviceSpec, find_device
from studio.core.memory.ledger import Ledger, build_ledger
from studio.core.memory.model import read_model_folder
from studio.core.memory.rows import RowLengths
from studio.core.recipe.load import load_recipe, parse_recipe
from studio.core.recipe.save import save_recipe
from studio.core.runs.layout import RunLayout
from studio.core.units import format_bytes
from tests.benchmarks.card import Report
from tests.core.memory.published import PUBLISHED
from tests.engine.tiny_run import build_tokenizer

MODELS = ("Llama-3.2-1B", "Qwen3-1.7B", "Gemma-2-2B", "Qwen3-4B", "Llama-3.1-8B")
DRY_MODELS = ("tiny llama", "tiny qwen3")
TINY: dict[str, dict[str, Any]] = {
    "tiny llama": PUBLISHED["Llama-3.2-1B"][0]
    | {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2, "vocab_size": 512,
       "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16},
    "tiny qwen3": PUBLISHED["Qwen3-0.6B"][0]
    | {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2, "vocab_size": 512,
       "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16},
}  # fmt: skip
TARGET = 0.05
GOAL_MODEL, GOAL_TOKENS, GOAL_BYTES = "Llama-3.1-8B", 2048, 8 << 30


@dataclass(frozen=True)
class Case:
    """One recipe: a model, whether layers are recomputed, and the tokens at once."""

    model: str
    checkpointing: str
    tokens: int
    rank: int = 16
    quantisation: str = "none"

    @property
    def title(self) -> str:
        """The words for the table."""
        form = "" if self.quantisation == "none" else f", {self.quantisation}"
        return (
            f"{self.model}{form}, recompute {self.checkpointing}, {self.tokens:,} tokens, "
            f"rank {self.rank}"
        )


@dataclass(frozen=True)
class Result:
    """What was forecast and what was measured; without a measurement, why there is none."""

    case: Case
    ledger: Ledger | None = None
    measured: DryRunMeasured | None = None
    failure: str = ""

    @property
    def error(self) -> float | None:
        """Forecast against measurement."""
        if self.ledger is None or self.measured is None:
            return None
        return self.ledger.total_bytes / self.measured.peak_bytes - 1


def build_model(folder: Path, config: dict[str, Any], device: str) -> Path:
    """Writes a model of this shape with random weights in 16 bits and a tokenizer of bytes."""
    sizes = {key: value for key, value in config.items() if key != "architectures"}
    kind = sizes.pop("model_type")
    settings = transformers.AutoConfig.for_model(kind, **sizes, eos_token_id=256, bos_token_id=256)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = transformers.AutoModelForCausalLM.from_config(settings, trust_remote_code=False)
    finally:
        torch.set_default_dtype(torch.float32)
    model.cpu().save_pretrained(folder, max_shard_size="4GB")
    build_tokenizer().save_pretrained(folder)
    return folder


def write_rows(path: Path, longest: int, rows: int = 64) -> Path:
    """Writes chats of up to ``longest`` bytes, which are as many tokens."""
    numbers = random.Random(0)
    lines = []
    for _ in range(rows):
        size = numbers.randrange(longest // 8, longest - 64)
        turns = [
            {"role": "user", "content": "q" * (size // 3)},
            {"role": "assistant", "content": "a" * (size - size // 3)},
        ]
        lines.append(json.dumps({"messages": turns}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def measure(case: Case, folder: Path, base: Path, data: Path, device: DeviceSpec) -> Result:
    """Returns forecast and dry run of one recipe."""
    layout = RunLayout(folder)
    folder.mkdir(parents=True)
    recipe = parse_recipe(
        {
            "base": {"model": str(base), "quantisation": case.quantisation},
            "data": {"train": [{"source": str(data)}], "validation": {"fraction": 0}},
            "adapter": {"rank": case.rank, "alpha": 2.0 * case.rank},
            "train": {
                "devices": "cpu" if device.is_cpu else "cuda:0",
                "checkpointing": case.checkpointing,
                "micro_batch_tokens": case.tokens,
                "batch_sequences": 32,
            },
        }
    )
    save_recipe(recipe, layout.recipe)
    process = start_job(layout, MeasureOrder(base_folder=str(folder)))
    rows, found, failure = None, None, "the process ended without a word"
    for event in follow(layout, process):
        if isinstance(event, RowsCounted):
            rows = RowLengths(
                event.lengths, event.rows, event.mean_tokens, event.supervised_fraction
            )
        elif isinstance(event, DryRunMeasured):
            found = event
        elif isinstance(event, RunFailed):
            failure = event.message
    if rows is None:
        return Result(case, failure=failure)
    ledger = build_ledger(load_recipe(layout.recipe), read_model_folder(base), device, rows)
    return Result(case, ledger, found, "" if found else failure)


def describe(result: Result) -> str:
    """Returns one line of the table."""
    name = result.case.title
    if result.ledger is None:
        return f"| {name} | — | {result.failure} | | |"
    forecast = format_bytes(result.ledger.total_bytes)
    if result.measured is None:
        return f"| {name} | {forecast} | {result.failure} | | |"
    speed = result.measured.tokens / result.measured.seconds
    peak = format_bytes(result.measured.peak_bytes)
    return f"| {name} | {forecast} | {peak} | {result.error:+.1%} | {speed:,.0f} |"


def build_cases(models: tuple[str, ...], tokens: tuple[int, ...]) -> list[Case]:
    """Returns every model, dense and in 4 bits, with and without recomputing."""
    return [
        Case(model, mode, count, quantisation=form)
        for model in models
        for form in ("none", "nf4")
        for mode in ("none", "all")
        for count in tokens
    ]


def describe_goal(results: list[Result]) -> str:
    """Returns whether an 8B model in 4 bits trains on 2,048 tokens within 8 GB."""
    peaks = [
        result.measured.peak_bytes
        for result in results
        if result.measured is not None
        and (result.case.model, result.case.quantisation) == (GOAL_MODEL, "nf4")
        and result.case.tokens == GOAL_TOKENS
    ]
    if not peaks:
        return f"{GOAL_MODEL} in 4 bits was not measured."
    words = "reached" if min(peaks) < GOAL_BYTES else "missed"
    return (
        f"{GOAL_MODEL} in 4 bits with {GOAL_TOKENS:,} tokens: {format_bytes(min(peaks))} "
        f"(goal: less than {format_bytes(GOAL_BYTES)}, {words})."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the table to this file as well")
    parser.add_argument("--minutes", type=float, default=9.0, help="no new row begins after them")
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes, on the processor")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    arguments = parser.parse_args()
    device = find_device("cpu" if arguments.dry_run else "cuda:0")
    if device.is_cpu and not arguments.dry_run:
        sys.exit("There is no NVIDIA card here; --dry-run shows that the script works.")
    models = DRY_MODELS if arguments.dry_run else tuple(arguments.models)
    tokens = (256,) if arguments.dry_run else (2048, 8192)
    results: list[Result] = []
    report = Report(arguments.out, arguments.minutes)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    report.add(f"# Forecast and measured peak memory, {device.name}", "", f"{versions}.", "")
    report.add("| recipe | forecast | measured peak | error | tokens/s |", "|---|---|---|---|---|")
    for model in models:
        # one model at a time, so that the disk holds one
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            config = TINY[model] if arguments.dry_run else PUBLISHED[model][0]
            where = "cpu" if arguments.dry_run else "cuda:0"
            base = build_model(folder / "base", config, where)
            torch.cuda.empty_cache()
            data = write_rows(folder / "rows.jsonl", longest=min(tokens))
            for number, case in enumerate(build_cases((model,), tokens)):
                place = folder / f"case-{number}"

                def run(case: Case = case, place: Path = place) -> Iterator[str]:
                    free = find_device("cpu" if arguments.dry_run else "cuda:0")
                    results.append(measure(case, place, base, data, free))  # noqa: B023 - called at once
                    yield describe(results[-1])

                report.attempt(case.title, run, columns=4)
    errors = [abs(result.error) for result in results if result.error is not None]
    verdict = f"Worst error {max(errors):.1%} (target {TARGET:.0%})." if errors else "No result."
    report.add("", f"{verdict} {describe_goal(results)}")


if __name__ == "__main__":
    main()
