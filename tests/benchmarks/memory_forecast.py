"""Compares forecast and measured peak memory of 26 recipes on the processor; prints a table.

Run: python tests/benchmarks/memory_forecast.py [--out FILE.md] [--measured FILE] [--return-blocks]

With --measured what was measured is added to that file (JSON lines), and what is in it already is
not measured again: so it can be done in parts (--first, --last), or forecast anew.

With --return-blocks the C library gives every freed block back at once (Linux, slower): then the
forecast is compared without its allowance for gaps in the heap.

Every recipe is measured in a child process of its own by the program's own dry run. The forecast
knows the model's headers and the lengths of the rows, nothing of the measurement. "All" is the
whole process against the forecast total; "model" leaves out the program itself (interpreter and
libraries), which would hide errors.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.update(OMP_WAIT_POLICY="PASSIVE", OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")

import torch
import transformers

from studio.core.events.types import DryRunMeasured, RowsCounted, RunFailed
from studio.core.jobs.follow import follow
from studio.core.jobs.orders import MeasureOrder
from studio.core.jobs.process import start_job
from studio.core.memory.anatomy import Anatomy
from studio.core.memory.card import describe_processor
from studio.core.memory.ledger import PROCESS_BYTES, Ledger, build_ledger
from studio.core.memory.model import read_model_folder
from studio.core.memory.rows import RowLengths
from studio.core.recipe.load import parse_recipe
from studio.core.recipe.save import save_recipe
from studio.core.recipe.schema import Recipe
from studio.core.runs.layout import RunLayout
from studio.core.units import format_bytes
from tests.engine.tiny_run import build_tokenizer

_LLAMA = {"max_position_embeddings": 4096, "pad_token_id": None, "eos_token_id": 256}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama 19M": (
        "llama",
        _LLAMA
        | {"vocab_size": 8192, "hidden_size": 384, "intermediate_size": 1024,
           "num_hidden_layers": 8, "num_attention_heads": 6, "num_key_value_heads": 2},
    ),
    "qwen3 big vocabulary 58M": (
        "qwen3",
        _LLAMA
        | {"vocab_size": 65536, "hidden_size": 384, "intermediate_size": 1152,
           "num_hidden_layers": 5, "num_attention_heads": 6, "num_key_value_heads": 2,
           "head_dim": 64},
    ),
    "gpt2 16M": (
        "gpt2",
        {"vocab_size": 8192, "n_embd": 384, "n_layer": 6, "n_head": 6, "n_positions": 2048,
         "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 256,
         "eos_token_id": 256},
    ),
    "llama 46M": (
        "llama",
        _LLAMA
        | {"vocab_size": 8192, "hidden_size": 768, "intermediate_size": 2048,
           "num_hidden_layers": 6, "num_attention_heads": 12, "num_key_value_heads": 4},
    ),
    "gemma3 17M": (
        "gemma3_text",
        _LLAMA
        | {"vocab_size": 16384, "hidden_size": 320, "intermediate_size": 960,
           "num_hidden_layers": 9, "num_attention_heads": 4, "num_key_value_heads": 1,
           "head_dim": 64, "sliding_window": 2048, "query_pre_attn_scalar": 64},
    ),
}  # fmt: skip
_THRESHOLD = "MALLOC_MMAP_THRESHOLD_"
TUNED = ("llama 19M", "qwen3 big vocabulary 58M", "gpt2 16M")
"""The allowance for gaps in the heap was chosen on these; the other recipes check it."""


@dataclass(frozen=True)
class Case:
    """One recipe to compare."""

    shape: str
    checkpointing: str
    tokens: int
    targets: str = "all-linear"
    quantisation: str = "none"

    @property
    def title(self) -> str:
        """The words for the table."""
        more = "" if self.targets == "all-linear" else f", {self.targets} only"
        more += "" if self.quantisation == "none" else f", {self.quantisation}"
        return f"{self.shape}, recompute {self.checkpointing}, {self.tokens:,} tokens{more}"


CASES = (
    *(Case(shape, mode, tokens) for shape in TUNED for mode in ("none", "all")
      for tokens in (1024, 3072)),
    Case("llama 46M", "none", 2048),
    Case("llama 46M", "all", 2048),
    Case("gemma3 17M", "none", 2048),
    Case("gemma3 17M", "all", 1536),
    Case("llama 19M", "none", 2048, "attention"),
    Case("gpt2 16M", "all", 2048, "mlp"),
    *(Case(shape, mode, 2048, quantisation=kind) for shape, kind in
      (("llama 46M", "nf4"), ("qwen3 big vocabulary 58M", "nf4"), ("gpt2 16M", "nf4"),
       ("llama 46M", "int8")) for mode in ("none", "all")),
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One recipe: what was forecast and what was measured."""

    case: Case
    ledger: Ledger
    anatomy: Anatomy
    loaded_bytes: int
    peak_bytes: int

    @property
    def gap_bytes(self) -> int:
        """The allowance for gaps in the heap, where there can be any."""
        (overhead,) = (part for part in self.ledger.parts if part.key == "overhead")
        return overhead.size_bytes - PROCESS_BYTES

    @property
    def forecast_bytes(self) -> int:
        """The forecast for the way in which the C library works."""
        has_gaps = _THRESHOLD not in os.environ
        copies = self.ledger.bytes_by_part["copies"]  # a dry run has nothing to go back to
        return self.ledger.total_bytes - copies - (0 if has_gaps else self.gap_bytes)

    @property
    def error(self) -> float:
        """Forecast against measurement, of the whole process."""
        return self.forecast_bytes / self.peak_bytes - 1

    @property
    def model_error(self) -> float:
        """The same without the program itself, measured before the first step."""
        sizes = self.ledger.bytes_by_part
        program = self.loaded_bytes - sizes["base"] - sizes["adapter"]
        forecast = self.forecast_bytes - (sizes["overhead"] - self.gap_bytes)
        return forecast / (self.peak_bytes - program) - 1


def build_model(folder: Path, kind: str, sizes: dict[str, Any]) -> Path:
    """Writes a random model with a tokenizer of bytes."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **sizes)
    model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


def write_rows(path: Path, rows: int = 60) -> Path:
    """Writes chats of 100 to 1,000 bytes, which are as many tokens."""
    numbers = random.Random(0)
    lines = []
    for _ in range(rows):
        size = numbers.randrange(100, 900)
        question, answer = "q" * (size // 3), "a" * (size - size // 3)
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"messages": turns}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True)
class Measured:
    """What the dry run of one recipe told."""

    loaded_bytes: int
    peak_bytes: int
    rows: RowLengths


def build_recipe(case: Case, base: Path, data: Path) -> Recipe:
    """Returns the recipe of a case."""
    return parse_recipe(
        {
            "base": {"model": str(base), "quantisation": case.quantisation},
            "data": {"train": [{"source": str(data)}], "validation": {"fraction": 0}},
            "adapter": {"targets": case.targets},
            "train": {
                "devices": "cpu",
                "batch_sequences": 16,
                "checkpointing": case.checkpointing,
                "micro_batch_tokens": case.tokens,
            },
        }
    )


def measure(case: Case, recipe: Recipe, folder: Path) -> Measured:
    """Returns what the dry run of one recipe told."""
    layout = RunLayout(folder)
    folder.mkdir(parents=True)
    save_recipe(recipe, layout.recipe)
    process = start_job(layout, MeasureOrder(base_folder=str(folder)))
    rows, found = None, None
    for event in follow(layout, process):
        if isinstance(event, RowsCounted):
            rows = RowLengths(
                event.lengths, event.rows, event.mean_tokens, event.supervised_fraction
            )
        elif isinstance(event, DryRunMeasured):
            found = event
        elif isinstance(event, RunFailed):
            sys.exit(f"{case.title}: {event.message} (see {layout.log})")
    assert rows is not None
    assert found is not None
    return Measured(found.loaded_bytes, found.peak_bytes, rows)


def compare(case: Case, recipe: Recipe, base: Path, measured: Measured) -> Result:
    """Returns the forecast of a recipe beside what was measured."""
    anatomy = read_model_folder(base)
    ledger = build_ledger(recipe, anatomy, describe_processor(), measured.rows)
    return Result(case, ledger, anatomy, measured.loaded_bytes, measured.peak_bytes)


def load_measured(path: Path | None) -> dict[str, Measured]:
    """Returns what was measured before, by the titles of the recipes."""
    found = {}
    for line in path.read_text().splitlines() if path is not None and path.exists() else ():
        values = json.loads(line)
        rows = RowLengths(**values["rows"] | {"lengths": tuple(values["rows"]["lengths"])})
        found[values["title"]] = Measured(values["loaded_bytes"], values["peak_bytes"], rows)
    return found


def is_tuned(case: Case) -> bool:
    """Returns whether the allowance for gaps was chosen with the help of this recipe."""
    return case in CASES[: 4 * len(TUNED)]


def format_table(results: list[Result]) -> str:
    """Returns the results as a Markdown table."""
    lines = [
        "| recipe | forecast | measured peak | error, all | error, model |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        lines.append(
            f"| {result.case.title} | {format_bytes(result.forecast_bytes)} "
            f"| {format_bytes(result.peak_bytes)} | {result.error:+.1%} "
            f"| {result.model_error:+.1%} |"
        )
    for words, group in (
        ("worst of those used for tuning", [r for r in results if is_tuned(r.case)]),
        ("worst of the others", [r for r in results if not is_tuned(r.case)]),
    ):
        if not group:
            continue
        worst = max(abs(result.error) for result in group)
        worst_model = max(abs(result.model_error) for result in group)
        lines.append(f"| {words} | | | {worst:.1%} | {worst_model:.1%} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the table to this file as well")
    parser.add_argument("--measured", type=Path, help="keep what was measured here, and use it")
    parser.add_argument("--return-blocks", action="store_true", help="leave out heap gaps")
    parser.add_argument("--first", type=int, default=0, help="leave out the recipes before")
    parser.add_argument("--last", type=int, default=len(CASES), help="leave out those after")
    arguments = parser.parse_args()
    if arguments.return_blocks:
        os.environ[_THRESHOLD] = "65536"
    results, known = [], load_measured(arguments.measured)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_rows(folder / "rows.jsonl")
        for number, case in enumerate(CASES[arguments.first : arguments.last]):
            base = folder / SHAPES[case.shape][0] / case.shape
            if not base.exists():
                build_model(base, *SHAPES[case.shape])
            recipe = build_recipe(case, base, data)
            measured = known.get(case.title)
            if measured is None:
                measured = measure(case, recipe, folder / f"case-{number}")
                if arguments.measured:
                    line = json.dumps({"title": case.title, **asdict(measured)})
                    with arguments.measured.open("a") as file:
                        file.write(f"{line}\n")
            result = compare(case, recipe, base, measured)
            results.append(result)
            print(
                f"{case.title}: {format_bytes(result.forecast_bytes)} forecast, "
                f"{format_bytes(result.peak_bytes)} measured, {result.error:+.1%} / "
                f"{result.model_error:+.1%}",
                flush=True,
            )
    table = format_table(results)
    print(table)
    if arguments.out:
        note = "; freed blocks given back at once, no gaps" if arguments.return_blocks else ""
        versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
        arguments.out.write_text(
            f"# Forecast and measured peak memory, processor\n\n{versions}. "
            "`python tests/benchmarks/memory_forecast.py --out FILE`; “model” leaves out the "
            f"program itself{note}.\n\n{table}\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
