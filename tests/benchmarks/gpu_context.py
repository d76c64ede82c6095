"""Finds the longest text that trains within 8, 12, 16 and 24 GB: this program and PEFT's way.

Run on a machine with a card:  python tests/benchmarks/gpu_context.py [--out FILE.md]
Anywhere, to see that it runs:  python tests/benchmarks/gpu_context.py --dry-run

Both sides train rank 16 on all linear layers of the same base in 4 bits (NF4, double quantisation),
two steps on one text, layers recomputed: this program by its own dry run, the other side by PEFT,
bitsandbytes and the Trainer of transformers. A child process may take no more of the card than the
cap; the length is doubled until it fails, then halved in between, to 1/16.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", OMP_WAIT_POLICY="PASSIVE")

import torch
import transformers

from studio.core.units import format_bytes
from tests.benchmarks.card import Report
from tests.benchmarks.gpu_memory import TINY, build_model
from tests.core.memory.published import PUBLISHED

CAPS_GIB = (8, 12, 16, 24)
MODELS = ("Llama-3.2-1B", "Llama-3.1-8B")
SHORTEST, LONGEST = 256, 131_072
_TIMEOUT_SECONDS = 600


def find_longest(fits: Callable[[int], bool], shortest: int, longest: int) -> int:
    """Returns the largest length that fits, to a sixteenth of it; 0 where none does."""
    if not fits(shortest):
        return 0
    low, high = shortest, shortest
    while high < longest:
        high = min(longest, 2 * low)
        if not fits(high):
            break
        low = high
    else:
        return low
    while high - low > max(1, low // 16):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def write_row(path: Path, tokens: int) -> Path:
    """Writes one text of so many bytes, which are as many tokens."""
    path.write_text(json.dumps({"text": "a" * tokens}) + "\n", encoding="utf-8")
    return path


def train_ours(base: Path, tokens: int, device: str, folder: Path) -> None:
    """Trains two steps by the program's own dry run."""
    from studio.core.events.types import DryRunMeasured
    from studio.core.jobs.orders import MeasureOrder, order_type
    from studio.core.recipe.load import parse_recipe
    from studio.core.recipe.save import save_recipe
    from studio.core.runs.layout import RunLayout
    from studio.engine.jobs import measure
    from tests.engine.tiny_run import ScriptedControl

    layout = RunLayout(folder / "run")
    layout.folder.mkdir()
    recipe = parse_recipe(
        {
            "base": {"model": str(base), "quantisation": "nf4"},
            "data": {
                "train": [{"source": str(write_row(folder / "row.jsonl", tokens))}],
                "validation": {"fraction": 0},
                "max_tokens": tokens,
                "template": "plain",
            },
            "adapter": {"rank": 16, "alpha": 32.0},
            "train": {"devices": device, "checkpointing": "all", "batch_sequences": 1,
                      "micro_batch_tokens": tokens},
        }
    )  # fmt: skip
    save_recipe(recipe, layout.recipe)
    order = MeasureOrder(base_folder=str(folder))
    layout.job.write_bytes(order_type.dump_json(order))
    events = list(measure.run(order, layout, ScriptedControl(layout)))
    assert any(isinstance(event, DryRunMeasured) for event in events)


def train_theirs(base: Path, tokens: int, device: str, folder: Path) -> None:
    """Trains two steps as PEFT's documentation of QLoRA shows it."""
    import peft

    form = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(
        base, quantization_config=form, dtype=torch.bfloat16, device_map={"": device}
    )
    model = peft.prepare_model_for_kbit_training(model)
    config = peft.LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
    model = peft.get_peft_model(model, config)
    ids = [97 % model.config.vocab_size] * tokens
    settings = transformers.TrainingArguments(
        output_dir=str(folder / "theirs"), per_device_train_batch_size=1, max_steps=2,
        gradient_checkpointing=True, bf16=device != "cpu", report_to=[], save_strategy="no",
        use_cpu=device == "cpu", disable_tqdm=True,
    )  # fmt: skip
    rows: Any = [{"input_ids": ids, "labels": ids, "attention_mask": [1] * tokens}] * 2
    transformers.Trainer(model=model, args=settings, train_dataset=rows).train()


SIDES = {"ours": train_ours, "theirs": train_theirs}


def run_child(side: str, base: Path, device: str, cap_gib: float, tokens: int) -> bool:
    """Returns whether a child process could train so many tokens within the cap."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.gpu_context", "--child", side, str(base),
         str(tokens), device, str(cap_gib)],
        capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    words = f"{side}, {tokens:,} tokens, {cap_gib:g} GB"
    has_room = child.returncode == 0
    print(f"{words}: {'trains' if has_room else 'does not fit'}", file=sys.stderr, flush=True)
    if not has_room and "out of memory" not in child.stderr.lower():
        end = child.stderr.strip()[-2000:] or "it ended without a word"
        raise RuntimeError(f"{end.splitlines()[-1]}\n{end}")
    return has_room


def be_child(side: str, base: str, tokens: str, device: str, cap_gib: str) -> None:
    """Trains within the cap; ends with an error where there is no room."""
    if device != "cpu":
        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, float(cap_gib) * 2**30 / whole))
    with tempfile.TemporaryDirectory() as name:
        SIDES[side](Path(base), int(tokens), device, Path(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the table to this file as well")
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes, on the processor")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--caps", type=float, nargs="+", default=CAPS_GIB, help="GiB")
    parser.add_argument("--minutes", type=float, default=9.0, help="no new try begins after them")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        be_child(*arguments.child)
        return
    if not torch.cuda.is_available() and not arguments.dry_run:
        sys.exit("There is no NVIDIA card here; --dry-run shows that the script works.")
    device = "cpu" if arguments.dry_run else "cuda:0"
    report = Report(arguments.out, arguments.minutes)
    report.add(
        "# The longest text that trains within a cap",
        "",
        f"torch {torch.__version__}, transformers {transformers.__version__}. Goal: twice as long.",
        "",
        "| model | cap | side | longest text |",
        "|---|---|---|---|",
    )
    for model in ("tiny llama",) if arguments.dry_run else arguments.models:
        with tempfile.TemporaryDirectory() as name:
            config = TINY[model] if arguments.dry_run else PUBLISHED[model][0]
            base = build_model(Path(name) / "base", config, device)
            for cap in arguments.caps[: 1 if arguments.dry_run else None]:
                for side in SIDES:
                    words = f"{model} | {format_bytes(int(cap * 2**30))} | {side}"
                    fits = partial(run_child, side, base, device, cap)
                    most = SHORTEST if arguments.dry_run else LONGEST
                    report.attempt(words, partial(_search, words, fits, most, report), columns=1)


def _search(words: str, fits: Callable[[int], bool], most: int, report: Report) -> Iterator[str]:
    best = 0

    def note(tokens: int) -> bool:
        nonlocal best
        # When the time is over, what was found so far is said, and that it is not all.
        is_fine = report.has_time and fits(tokens)
        best = max(best, tokens if is_fine else 0)
        return is_fine

    find_longest(note, SHORTEST, most)
    yield f"| {words} | {best:,}{'' if report.has_time else ' or more: no time left'} |"


if __name__ == "__main__":
    main()
