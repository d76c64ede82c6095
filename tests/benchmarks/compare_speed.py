"""Measures what N answers side by side cost: one batch here, N merged models, peft's mixed batch.

Run it as ``python -m tests.benchmarks.compare_speed``; it writes ``results/compare_speed.md``. On
the processor, times are its seconds (all threads), and all ways of a line take turns, so that what
other programs do counts little and hits all of them alike. On a card (``--device cuda --shape
llama-1b``) they are seconds on the clock, one way after the other because not all fit into its
memory, and the table has a file of its own.
"""

from __future__ import annotations

import argparse
import copy
import gc
import importlib.metadata
import math
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from studio.core.recipe.schema import AdapterSettings
from studio.engine.infer.few_rows import prepare_few_rows
from studio.engine.infer.generate import Generation, Prompt
from studio.engine.infer.sampling import Sampling
from studio.engine.lora.inject import inject
from studio.engine.lora.routing import RowChoice
from studio.engine.lora.stack import AdapterStack
from studio.engine.lora.stacked import StackedModule
from studio.engine.lora.state import load_adapter, save_adapter
from studio.engine.models.rms_norm import join_norms
from tests.benchmarks.card import get_device

Way = Callable[[], Callable[[], object]]
"""Builds a model and returns what answers with it once."""
RESULTS = Path(__file__).parent / "results"
PROMPT_TOKENS, RANK = 64, 16
SHAPES: dict[str, dict[str, int]] = {
    "tiny": {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "llama-41m": {
        "vocab_size": 16_384,
        "hidden_size": 512,
        "intermediate_size": 1408,
        "num_hidden_layers": 11,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
    },
    "llama-1b": {
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "llama-8b": {
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}


@dataclass(frozen=True)
class Row:
    """What N columns cost: seconds of the three ways, of our first token, and bytes of weights.

    ``one`` are the seconds of our answer in one column, measured in turns with the others.
    """

    count: int
    one: float
    ours: float
    merged: float
    peers: float | None
    first: float
    bytes: int


class Bench:
    """One base model and adapters for it, on one device."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments = arguments
        self.device = get_device(arguments.device)
        self.is_card = self.device.type != "cpu"
        self.faults: list[str] = []
        self._deadline = time.monotonic() + 60 * arguments.minutes
        self.dtype = torch.bfloat16 if self.is_card else torch.float32
        self.base = self._build_base()
        self.weights = sum(parameter.numel() for parameter in self.base.parameters())
        top = self.base.config.vocab_size
        self.ids = tuple(torch.randint(3, top, (PROMPT_TOKENS,)).tolist())
        self.folders = self._write_adapters(folder, max(arguments.counts))

    def measure(self, count: int) -> Row:
        """Returns what ``count`` columns cost."""
        folders = self.folders[:count]
        ways: dict[str, Way] = {
            "one": lambda: self._make_stacked(self.folders[:1]),
            "ours": lambda: self._make_stacked(folders),
            "first": lambda: self._make_stacked(folders, tokens=1),
            "merged": lambda: self._make_merged(folders[0]),
        }
        if not self.arguments.skip_peers:
            ways["peers"] = lambda: self._make_peft(folders)
        seconds = self._time(ways)
        return Row(
            count,
            one=seconds["one"],
            ours=seconds["ours"],
            merged=seconds["merged"] * count,
            peers=seconds.get("peers"),
            first=seconds["first"],
            bytes=count_bytes(self._stack(folders)[0]),
        )

    def _build_base(self) -> Any:
        torch.manual_seed(0)
        config = transformers.LlamaConfig(tie_word_embeddings=True, **SHAPES[self.arguments.shape])
        with torch.device(self.device):
            model = transformers.LlamaForCausalLM(config)
        return model.to(self.dtype).eval().requires_grad_(False)

    def _write_adapters(self, folder: Path, count: int) -> list[Path]:
        folders = []
        base = copy.deepcopy(self.base)  # the others answer with what transformers built
        for seed in range(count):
            adapter = inject(base, AdapterSettings(rank=RANK, alpha=2.0 * RANK), seed=seed)
            torch.manual_seed(seed)
            with torch.no_grad():
                for parameter in adapter.parameters():
                    parameter.normal_(std=0.02)
            folders.append(folder / f"a{seed}")
            save_adapter(adapter, folders[-1], base_model="bench")
            adapter.detach()
        return folders

    def _time(self, ways: Mapping[str, Way]) -> dict[str, float]:
        """Returns the least seconds of each way over several rounds after a first one."""
        if self.is_card and len(ways) > 1:
            return {name: self._time_alone(name, way) for name, way in ways.items()}
        works = {name: way() for name, way in ways.items()}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(self.arguments.repeats + 1):
            for name, work in works.items():
                start = self._read_clock()
                work()
                seconds[name].append(self._read_clock() - start)
        return {name: min(values[1:]) for name, values in seconds.items()}

    def _time_alone(self, name: str, way: Way) -> float:
        """Returns the seconds of one way on a card, NaN where it fails; the others go on."""
        seconds = math.nan
        if time.monotonic() > self._deadline:
            self.faults.append(f"{name}: no time left")
            return seconds
        try:
            seconds = self._time({name: way})[name]
        except Exception as error:  # noqa: BLE001 - whatever it stumbles over
            self.faults.append(f"{name}: {type(error).__name__}: {str(error)[:300]}")
        gc.collect()
        torch.cuda.empty_cache()
        return seconds

    def _read_clock(self) -> float:
        if not self.is_card:
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _stack(self, folders: Sequence[Path]) -> tuple[Any, AdapterStack]:
        base = copy.deepcopy(self.base)
        prepare_few_rows(base)
        join_norms(base)
        stack = AdapterStack(base)
        for number, folder in enumerate(folders):
            stack.load(str(number), folder)
        return base, stack

    def _make_stacked(
        self, folders: Sequence[Path], tokens: int | None = None
    ) -> Callable[[], object]:
        base, stack = self._stack(folders)
        sampling = Sampling(max_new_tokens=tokens or self.arguments.answer_tokens)
        prompts = [Prompt(self.ids, sampling, RowChoice(name)) for name in stack.names]

        def work() -> None:
            generation = Generation(base, prompts, (), stack=stack)
            while generation.open_rows:
                generation.advance()

        return work

    def _make_merged(self, folder: Path) -> Callable[[], object]:
        model = copy.deepcopy(self.base)
        adapter = load_adapter(model, folder)
        adapter.detach()
        with torch.no_grad():
            for module in adapter.modules.values():
                module.base.weight.copy_(module.get_merged_weight())
        merged = copy.deepcopy(self.base)  # as transformers built it, with the new weights
        merged.load_state_dict(model.state_dict())
        inputs = self._build_inputs(1)
        return lambda: merged.generate(**inputs)

    def _make_peft(self, folders: Sequence[Path]) -> Callable[[], object]:
        import peft  # lent machines do not have it; the other ways are measured there

        names = [str(number) for number in range(len(folders))]
        base = copy.deepcopy(self.base)
        model = peft.PeftModel.from_pretrained(base, str(folders[0]), adapter_name=names[0])
        for name, folder in zip(names[1:], folders[1:], strict=True):
            model.load_adapter(str(folder), adapter_name=name)
        model.eval()
        inputs = self._build_inputs(len(folders))
        return lambda: model.generate(**inputs, adapter_names=names)

    def _build_inputs(self, rows: int) -> dict[str, Any]:
        prompt = torch.tensor([self.ids] * rows, device=self.device)
        return {
            "input_ids": prompt,
            "attention_mask": torch.ones_like(prompt),
            "max_new_tokens": self.arguments.answer_tokens,
            "do_sample": False,
            "eos_token_id": None,
            "pad_token_id": 0,
        }


def count_bytes(model: torch.nn.Module) -> int:
    """Returns the bytes of all numbers that a model and the adapters stacked on it hold."""
    held: dict[int, int] = {}
    for module in model.modules():
        tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if isinstance(module, StackedModule):
            tensors += [t for t in (module._tall_a, module._tall_b) if t is not None]
        for tensor in tensors:
            if tensor.is_mkldnn:
                held[id(tensor)] = torch.ops.mkldnn._nbytes(tensor)
            else:
                held[tensor.data_ptr()] = tensor.nbytes
    return sum(held.values())


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", default="llama-41m", choices=sorted(SHAPES))
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--answer-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skip-peers", action="store_true", help="leave peft out")
    parser.add_argument("--minutes", type=float, default=60.0, help="on a card, of all ways")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(words)
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    is_card = torch.device(arguments.device).type != "cpu"
    name = f"compare_speed_{arguments.shape}.md" if is_card else "compare_speed.md"
    out = arguments.out or RESULTS / name
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(arguments, Path(place))
        rows = []
        for count in arguments.counts:
            rows.append(bench.measure(count))
            print(rows[-1], flush=True)
            out.write_text(_build_report(rows, bench), encoding="utf-8")
    print(out.read_text(encoding="utf-8"))


def _build_report(rows: list[Row], bench: Bench) -> str:
    arguments = bench.arguments
    place = platform.machine()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    clock = f"Processor seconds, all ways in turns (load average of the shared machine {load})"
    if bench.is_card:
        place, clock = torch.cuda.get_device_name(bench.device), "Seconds"
    lines = [
        "# Answers side by side",
        "",
        f"A random Llama of {bench.weights / 1e6:.0f} million weights in {bench.dtype}, "
        f"{PROMPT_TOKENS} tokens of prompt, {arguments.answer_tokens} tokens of answer in each "
        f"column, every column with its own adapter of rank {RANK} on all linear layers; "
        f"{arguments.threads} thread(s), {place}, torch {torch.__version__}, transformers "
        f"{transformers.__version__}, peft {_find_version('peft')}. {clock}, least of "
        f"{arguments.repeats} run(s) after a first one. N merged models are N times one; memory is "
        "that of all weights, base and adapters.",
        "",
        "| columns | one batch (ours) | N merged, transformers.generate | peft adapter_names | "
        "ours against one column | faster than merged | faster than peft | "
        "tokens/s of one column | tokens/s of all | first token | memory |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_describe(row, arguments.answer_tokens) for row in rows]
    return "\n".join([*lines, "", *(f"Not measured: {fault}" for fault in bench.faults), ""])


def _find_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _describe(row: Row, tokens: int) -> str:
    peers = (
        ("", "") if row.peers is None else (f"{row.peers:.2f} s", f"{row.peers / row.ours:.2f}x")
    )
    return (
        f"| {row.count} | {row.ours:.2f} s | {row.merged:.2f} s | {peers[0]} | "
        f"{row.ours / row.one:.2f}x | {row.merged / row.ours:.2f}x | {peers[1]} | "
        f"{tokens / row.one:.0f} | {row.count * tokens / row.ours:.0f} | {row.first:.3f} s | "
        f"{row.bytes / 1e6:.0f} MB |"
    )


if __name__ == "__main__":
    main()
