"""Measures what N answers side by side cost: one batch here, N merged models, peft's mixed batch.

Run it as ``python -m tests.benchmarks.compare_speed``; it writes ``results/compare_speed.md``.
Times are seconds of the processor (all threads), so that other programs hardly count.
"""

from __future__ import annotations

import argparse
import copy
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from studio.core.recipe.schema import AdapterSettings
from studio.engine.infer.generate import Generation, Prompt
from studio.engine.infer.layout import LEAST_ROWS, lay_out_for_rows
from studio.engine.infer.sampling import Sampling
from studio.engine.lora.inject import inject
from studio.engine.lora.stack import AdapterStack
from studio.engine.lora.stacked import RowChoice
from studio.engine.lora.state import load_adapter, save_adapter

RESULT = Path(__file__).parent / "results" / "compare_speed.md"
COUNTS = (1, 2, 4, 8)
PROMPT_TOKENS, ANSWER_TOKENS, RANK = 64, 64, 16


def build_base() -> Any:
    """Returns a Llama of about 45 million weights, random, of a fixed seed."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=16_384,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=11,
        num_attention_heads=8,
        num_key_value_heads=4,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config).eval().requires_grad_(False)


def write_adapters(base: Any, folder: Path) -> list[Path]:
    """Returns folders of as many adapters as are ever needed."""
    folders = []
    for seed in range(max(COUNTS)):
        adapter = inject(base, AdapterSettings(rank=RANK, alpha=2.0 * RANK), seed=seed)
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.normal_(std=0.02)
        folders.append(folder / f"a{seed}")
        save_adapter(adapter, folders[-1], base_model="bench")
        adapter.detach()
    return folders


def measure(work: Callable[[], object], repeats: int) -> float:
    """Returns the least processor seconds of several runs after a first one."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def make_stacked(base: Any, folders: list[Path], ids: tuple[int, ...]) -> Callable[[], object]:
    """Returns the work of this program: one batch over one base."""
    if len(folders) >= LEAST_ROWS:
        lay_out_for_rows(base)
    stack = AdapterStack(base)
    for number, folder in enumerate(folders):
        stack.load(str(number), folder)
    prompts = [
        Prompt(ids, Sampling(max_new_tokens=ANSWER_TOKENS), RowChoice(name)) for name in stack.names
    ]

    def work() -> None:
        generation = Generation(base, prompts, (), stack=stack)
        while generation.open_rows:
            generation.advance()

    return work


def make_merged(base: Any, folders: list[Path], ids: tuple[int, ...]) -> Callable[[], object]:
    """Returns the work of N models with an adapter merged into each, one after the other."""
    models = []
    for folder in folders:
        model = copy.deepcopy(base)
        adapter = load_adapter(model, folder)
        adapter.detach()
        with torch.no_grad():
            for module in adapter.modules.values():
                module.base.weight.copy_(module.get_merged_weight())
        models.append(model.eval())
    inputs = _build_inputs(ids, 1)

    def work() -> None:
        for model in models:
            model.generate(**inputs)

    return work


def make_peft(base: Any, folders: list[Path], ids: tuple[int, ...]) -> Callable[[], object]:
    """Returns the work of peft's batch with ``adapter_names``."""
    names = [str(number) for number in range(len(folders))]
    model = peft.PeftModel.from_pretrained(
        copy.deepcopy(base), str(folders[0]), adapter_name=names[0]
    )
    for name, folder in zip(names[1:], folders[1:], strict=True):
        model.load_adapter(str(folder), adapter_name=name)
    model.eval()
    inputs = _build_inputs(ids, len(folders))
    return lambda: model.generate(**inputs, adapter_names=names)


def _build_inputs(ids: tuple[int, ...], rows: int) -> dict[str, Any]:
    prompt = torch.tensor([ids] * rows)
    return {
        "input_ids": prompt,
        "attention_mask": torch.ones_like(prompt),
        "max_new_tokens": ANSWER_TOKENS,
        "do_sample": False,
        "eos_token_id": None,
        "pad_token_id": 0,
    }


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    base = build_base()
    weights = sum(parameter.numel() for parameter in base.parameters())
    ids = tuple(torch.randint(3, 16_000, (PROMPT_TOKENS,)).tolist())
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folders = write_adapters(base, Path(place))
        for count in COUNTS:
            found = []
            for make in (make_stacked, make_merged, make_peft):
                model = copy.deepcopy(base)
                found.append(measure(make(model, folders[:count], ids), arguments.repeats))
            rows.append((count, *found))
            print(rows[-1], flush=True)
    RESULT.write_text(_build_report(rows, weights, arguments), encoding="utf-8")
    print(RESULT.read_text(encoding="utf-8"))


def _build_report(rows: list[tuple[Any, ...]], weights: int, arguments: argparse.Namespace) -> str:
    threads, repeats = arguments.threads, arguments.repeats
    one = rows[0][1]
    lines = [
        "# Answers side by side",
        "",
        f"A random Llama of {weights / 1e6:.0f} million weights in float32, {PROMPT_TOKENS} tokens "
        f"of prompt, {ANSWER_TOKENS} tokens of answer in each column, every column with its own "
        f"adapter of rank {RANK} on all linear layers; {threads} thread(s), {platform.machine()}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}, peft "
        f"{peft.__version__}. Processor seconds, least of {repeats} run(s) after a first one.",
        "",
        "| columns | one batch (ours) | N merged, transformers.generate | peft adapter_names | "
        "ours against one column | faster than merged | faster than peft | tokens/s of all |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {count} | {ours:.2f} s | {merged:.2f} s | {theirs:.2f} s | {ours / one:.2f}x | "
        f"{merged / ours:.2f}x | {theirs / ours:.2f}x | {count * ANSWER_TOKENS / ours:.0f} |"
        for count, ours, merged, theirs in rows
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
