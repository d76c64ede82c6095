"""CPU seconds of preparing chat rows against a bare encode_batch and against datasets.map.

Run: ``python -m tests.benchmarks.data_speed [--rows 100000] [--tokenizer DIR] [--template FILE]``
Every figure is CPU seconds of a process of its own with one thread; the contenders take turns.
``--memory MB`` instead writes a JSONL of that size, or takes ``--file``, and reports the highest
memory of opening it for training and of preparing it. ``--start`` reports the time from a run's
start to its first step; with ``--memory`` or ``--file`` that of a run on such a file, and the
highest memory of its process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from transformers import PreTrainedTokenizerFast

from studio.core.events.tail import EventTail
from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.loader import iter_steps
from studio.engine.data.prepare import prepare
from studio.engine.data.streaming import StreamedRows, StreamWish, iter_stream
from studio.engine.jobs.train_data import tell_data
from tests.engine.tiny_run import build_base, build_run

STEP = "StepFinished"

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>'"
    " + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write_rows(path: Path, words: list[str], rows: int, most_bytes: int = 1 << 62) -> int:
    """Write chats with lognormal lengths (25 words asked, 45 answered) and return their number."""
    chance = random.Random(1)

    def text(median: int) -> str:
        count = max(2, int(chance.lognormvariate(math.log(median), 0.6)))
        start = chance.randrange(len(words) - count)
        return " ".join(words[start : start + count])

    written = done = 0
    with path.open("w", encoding="utf-8") as stream:
        while done < rows and written < most_bytes:
            turns = []
            if chance.random() < 0.3:
                turns.append({"role": "system", "content": "You are a helpful assistant."})
            for _ in range(1 if chance.random() < 0.7 else 2):
                turns.append({"role": "user", "content": text(25)})
                turns.append({"role": "assistant", "content": text(45)})
            written += stream.write(json.dumps({"messages": turns}) + "\n")
            done += 1
    return done


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--file", type=Path, help="with --memory: measure this JSONL")
    parser.add_argument("--only-open", action="store_true", help="with --memory: not all rows")
    parser.add_argument("--start", action="store_true")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--words", type=Path, help="text to make rows of, without --file")
    parser.add_argument("--template", type=Path)
    arguments = parser.parse_args()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.tokenizer)
    tokenizer.chat_template = (
        arguments.template.read_text(encoding="utf-8") if arguments.template else CHATML
    )
    words = [] if arguments.file else arguments.words.read_text(encoding="utf-8").split()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.memory and not arguments.file:
            path = folder / "rows.jsonl"
            write_rows(path, words, 1 << 40, arguments.memory << 20)
            # in a process that never held the words
            command = [sys.executable, "-m", __spec__.name, *sys.argv[1:], "--file", str(path)]
            subprocess.run(command, check=True)
        elif arguments.file and arguments.start:
            measure_run(folder, arguments.file, tokenizer)
        elif arguments.file:
            all_rows = not arguments.only_open
            measure_memory(folder, arguments.file, tokenizer, prepares_all=all_rows)
        elif arguments.start:
            measure_start(folder, tokenizer, words, arguments.rows)
        else:
            measure_speed(folder, tokenizer, words, arguments.rows, arguments.rounds)


def measure_speed(folder: Path, tokenizer: Any, words: list[str], rows: int, rounds: int) -> None:
    """Print CPU seconds per way."""
    path = folder / "rows.jsonl"
    write_rows(path, words, rows)
    chats = [json.loads(line)["messages"] for line in path.read_text("utf-8").splitlines()]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats]
    del chats
    settings = DataSettings.model_validate({"train": [{"source": str(path)}]})
    cache = folder / "cache"

    def ours() -> None:
        shutil.rmtree(cache, ignore_errors=True)
        prepare(settings, tokenizer, None, base_folder=folder, cache_folder=cache)

    def again() -> None:
        prepare(settings, tokenizer, None, base_folder=folder, cache_folder=cache)

    def bare() -> None:
        # one call over all rows; freeing what it made is part of it, as it is everywhere
        tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)

    ways: dict[str, Callable[[], None]] = {
        "bare encode_batch over the rendered text (floor)": bare,
        "ours, first start (parse, render, mask, tokenise, check, save)": ours,
        "ours, second start (from the cache)": again,
        "datasets.map with apply_chat_template per row (no mask)": lambda: map_rows(
            path, tokenizer
        ),
    }
    trl = import_trl()
    if trl is not None:
        ways["TRL's preparation (SFTTrainer up to its first step, no mask)"] = lambda: prepare_trl(
            trl, path, tokenizer
        )
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            found[way].append(measure_in_child(run))
    floor = statistics.median(found["bare encode_batch over the rendered text (floor)"])
    print(f"| {rows:,} rows | CPU s | x floor |\n|---|---|---|")
    for way, seconds in found.items():
        middle = statistics.median(seconds)
        print(f"| {way} | {middle:.2f} | {middle / floor:.2f} |")


def measure_in_child(run: Callable[[], None]) -> float:
    """Return the CPU seconds of a child, so that no contender inherits the heap of another."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        started = time.process_time()
        run()
        os.write(writer, str(time.process_time() - started).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="ascii") as stream:
        seconds = float(stream.read())
    os.waitpid(child, 0)
    return seconds


def map_rows(path: Path, tokenizer: Any) -> None:
    """Tokenise as trainers do: one row at a time, without a mask."""
    import datasets

    datasets.disable_progress_bars()
    datasets.disable_caching()
    loaded = datasets.load_dataset(
        "json", data_files=str(path), split="train", cache_dir=str(path.parent / "hf")
    )
    loaded.map(
        lambda row: dict(tokenizer.apply_chat_template(row["messages"], return_dict=True)),
        remove_columns=loaded.column_names,
    )
    shutil.rmtree(path.parent / "hf", ignore_errors=True)


def import_trl() -> Any | None:
    """Return TRL with the modules its trainer needs, imported before anything is measured."""
    try:
        import trl

        assert trl.SFTTrainer
    except ImportError:
        return None
    return trl


def prepare_trl(trl: Any, path: Path, tokenizer: Any) -> None:
    """Let TRL's trainer prepare the rows, as it does before its first step."""
    import datasets
    from transformers import LlamaConfig, LlamaForCausalLM

    datasets.disable_progress_bars()
    datasets.disable_caching()
    loaded = datasets.load_dataset(
        "json", data_files=str(path), split="train", cache_dir=str(path.parent / "trl")
    )
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
        )
    )
    arguments = trl.SFTConfig(
        str(path.parent / "out"), max_length=4096, use_cpu=True, bf16=False, report_to="none"
    )
    trl.SFTTrainer(model, args=arguments, train_dataset=loaded, processing_class=tokenizer)
    shutil.rmtree(path.parent / "trl", ignore_errors=True)


def measure_start(folder: Path, tokenizer: Any, words: list[str], rows: int) -> None:
    """Print the seconds to the first step of a tiny model: few rows, many, many once more."""
    base = build_tiny_base(folder, tokenizer)
    print("| start | s to all that is known of the rows | s to the first step |\n|---|---|---|")
    for count in (64, rows, rows):
        path = folder / f"{count}.jsonl"
        if not path.exists():
            write_rows(path, words, count)
        place = folder / "runs" / f"{count}-{len(list(folder.glob('runs/*')))}"
        layout = build_run(place, base, path, validation=0.05, steps=2)
        subprocess.run([sys.executable, "-m", "studio", "worker", str(place)], check=True)
        times: dict[str, float] = {}
        for event in EventTail(layout.events).read():
            times.setdefault(type(event).__name__, event.time_seconds)
        known, step = (times[name] - times["JobStarted"] for name in ("DataPrepared", STEP))
        print(f"| {count:,} rows | {known:.2f} | {step:.2f} |")


def build_tiny_base(folder: Path, tokenizer: Any) -> Path:
    """Write a tiny model that reads the tokens of a tokenizer; return its folder."""
    base = build_base(
        folder / "base", vocab_size=len(tokenizer), max_position_embeddings=4096, eos_token_id=2
    )
    tokenizer.save_pretrained(base)
    return base


def measure_run(folder: Path, path: Path, tokenizer: Any) -> None:
    """Print seconds and highest memory of a training run on one file up to its first step."""
    base = build_tiny_base(folder, tokenizer)
    layout = build_run(folder / "runs" / "one", base, path, validation=0.05, steps=2)
    print(f"| run on {path.stat().st_size >> 20:,} MB until | s | own MB | with mapped files |")
    print("|---|---|---|---|")
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", "studio", "worker", str(layout.folder)])
    highest = {"RssAnon": 0, "VmRSS": 0, "VmHWM": 0}
    told: set[str] = set()
    tail = EventTail(layout.events)
    while child.poll() is None:
        note_memory(Path(f"/proc/{child.pid}/status"), highest)
        for event in tail.read() if layout.events.exists() else ():
            name = type(event).__name__
            if name in ("JobStarted", "DataPrepared", STEP) and name not in told:
                told.add(name)
                seconds = time.monotonic() - began
                print(f"| {name} | {seconds:.1f} | {highest['RssAnon']} | {highest['VmRSS']} |")
        if STEP in told:  # the rest would be prepared before the run ends
            child.terminate()
        time.sleep(0.02)


def note_memory(status: Path, highest: dict[str, int]) -> None:
    """Raise the numbers (MB) to what a process has now; nothing where it has ended."""
    try:
        lines = status.read_text("ascii").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition(":")
        if name in highest:
            highest[name] = max(highest[name], int(value.split()[0]) >> 10)


def measure_memory(folder: Path, path: Path, tokenizer: Any, *, prepares_all: bool) -> None:
    """Print the highest memory of opening, and of preparing, a JSONL file."""
    settings = DataSettings.model_validate({"train": [{"source": str(path)}]})
    wish = StreamWish(
        settings, tokenizer, 4096, folder, (), folder / "cache", lambda: tokenizer, 1 << 30
    )
    print(
        "| highest until | s | own MB | with mapped files | kernel's mark |\n|---|---|---|---|---|"
    )
    watch = MemoryWatch()
    watch.start()
    watch.tell("before")
    data = finish(iter_stream(wish))
    assert isinstance(data, StreamedRows)
    for _ in data.train.iter_origins():  # as they are written down for the data microscope
        pass
    steps = iter_steps(
        data.train, batch_sequences=16, micro_batch_tokens=4096, seed=1, epoch=0, weights=[1.0]
    )
    next(steps)
    watch.tell(f"training can start with {path.stat().st_size >> 20:,} MB")
    if prepares_all:
        assert data.rest is not None
        data.rest.start()
        while not data.rest.is_done:
            next(steps)
            time.sleep(0.5)
        whole = data.rest.find_result()
        assert whole is not None
        data.take_tables(whole)
        for _ in tell_data(whole):
            next(steps)
        watch.tell("all is prepared")
    data.close()


class MemoryWatch(threading.Thread):
    """Notes this process's highest memory: its own, and with mapped files that may be dropped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._began = time.monotonic()
        self._highest = {"RssAnon": 0, "VmRSS": 0, "VmHWM": 0}

    def run(self) -> None:
        """Look again and again; ``start`` calls it."""
        while True:
            self._look()
            time.sleep(0.02)

    def tell(self, stage: str) -> None:
        """Print one row of the table."""
        self._look()
        numbers = " | ".join(str(one) for one in self._highest.values())
        print(f"| {stage} | {time.monotonic() - self._began:.0f} | {numbers} |", flush=True)

    def _look(self) -> None:
        note_memory(Path("/proc/self/status"), self._highest)


def finish(steps: Any) -> Any:
    """Return what a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


if __name__ == "__main__":
    sys.exit(main())
