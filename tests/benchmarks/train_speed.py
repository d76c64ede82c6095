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
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from studio.core.jobs.command import build_environment

RESULT = Path(__file__).parent / "results" / "train_speed.md"
BATCH = 8
WARM_STEPS = 1
RANK, ALPHA, RATE = 16, 32.0, 2e-4
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
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


@dataclass(frozen=True)
class Case:
    """A model with random weights, and how long its documents are."""

    title: str
    width: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int
    longest: int
    median: int
    seed: int


CASES = {
    "mid": Case("31 M parameters, vocabulary 16,384", 512, 1408, 8, 8, 4, 16384, 512, 110, 98),
    "bigv": Case("59 M parameters, vocabulary 128,256", 384, 1024, 6, 6, 2, 128256, 256, 90, 54),
}


@dataclass(frozen=True)
class Document:
    """Token ids and which of them are supervised, both ``(tokens,)``."""

    ids: NDArray[np.int32]
    supervised: NDArray[np.bool_]


def build_documents(case: Case, count: int) -> list[Document]:
    """Returns documents with lognormal lengths, a quarter to two thirds of each a prompt."""
    numbers = np.random.default_rng(case.seed)
    lengths = numbers.lognormal(np.log(case.median), 0.6, count).astype(int)
    documents = []
    for length in np.clip(lengths, 16, case.longest):
        prompt = int(length * numbers.uniform(0.25, 0.65))
        ids = numbers.integers(3, case.vocabulary, length).astype(np.int32)
        documents.append(Document(ids, np.arange(length) >= prompt))
    return documents


def build_model(case: Case) -> Any:
    """Returns the model with random weights in float32."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=case.vocabulary,
        hidden_size=case.width,
        intermediate_size=case.inner,
        num_hidden_layers=case.layers,
        num_attention_heads=case.heads,
        num_key_value_heads=case.key_heads,
        max_position_embeddings=case.longest,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return transformers.LlamaForCausalLM(config)


class Stopwatch:
    """CPU seconds and real tokens after the warm-up steps, the peak over all steps."""

    def __init__(self) -> None:
        from studio.engine.train.peak import PeakMeter

        self._meter = PeakMeter(torch.device("cpu"), 0)
        self._loaded_bytes = self._meter.start()
        self._step = 0
        self._seconds = _read_cpu()
        self.losses: list[float] = []

    def note_step(self) -> None:
        """Notes that an optimizer step was done."""
        self._step += 1
        if self._step == WARM_STEPS:
            self._seconds = _read_cpu()

    def stop(self, tokens: int) -> dict[str, Any]:
        """Returns what was measured; ``tokens`` are the real ones after the warm-up."""
        seconds = _read_cpu() - self._seconds
        extra = self._meter.stop() - self._loaded_bytes
        return {"tokens": tokens, "seconds": seconds, "extra": extra, "losses": self.losses}


def _read_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def run_peft(case: Case, documents: list[Document], dtype: torch.dtype) -> dict[str, Any]:
    """Trains with PEFT and transformers' Trainer on padded batches."""
    import peft
    from torch.utils.data import SequentialSampler

    model = build_model(case).to(dtype)
    model = peft.get_peft_model(
        model, peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS)
    )
    watch = Stopwatch()

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return SequentialSampler(documents)

    class Note(transformers.TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            watch.note_step()

        def on_log(self, *args: Any, logs: dict[str, float], **kwargs: Any) -> None:
            watch.losses += [logs["loss"]] if "loss" in logs else []

    arguments = transformers.TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        bf16=dtype == torch.bfloat16,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        logging_steps=1,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    trainer = InOrder(model, arguments, _pad, documents, callbacks=[Note()])
    trainer.train()
    return watch.stop(_count_tokens(documents))


def _pad(batch: list[Document]) -> dict[str, torch.Tensor]:
    shape = (len(batch), max(len(one.ids) for one in batch))
    ids = torch.zeros(shape, dtype=torch.long)
    labels, mask = torch.full(shape, -100), torch.zeros(shape, dtype=torch.long)
    for row, one in enumerate(batch):
        count = len(one.ids)
        ids[row, :count] = torch.from_numpy(one.ids.astype(np.int64))
        mask[row, :count] = 1
        chosen = torch.from_numpy(one.supervised)
        labels[row, :count] = torch.where(chosen, ids[row, :count], -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def run_trl(
    case: Case, documents: list[Document], dtype: torch.dtype, *, packs: bool
) -> dict[str, Any]:
    """Trains with PEFT and TRL's SFTTrainer, which recomputes layers unless told otherwise."""
    import datasets
    import peft
    import trl

    watch = Stopwatch()
    counts: list[int] = []

    class Counting(trl.SFTTrainer):  # type: ignore[misc]  # trl has no types
        def training_step(self, model: Any, inputs: dict[str, Any], *rest: Any) -> Any:
            mask = inputs.get("attention_mask")
            counts.append(int(inputs["input_ids"].numel() if mask is None else mask.sum()))
            return super().training_step(model, inputs, *rest)

    class Note(transformers.TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            watch.note_step()

        def on_log(self, *args: Any, logs: dict[str, float], **kwargs: Any) -> None:
            watch.losses += [logs["loss"]] if "loss" in logs else []

    mean = sum(len(one.ids) for one in documents) / len(documents)
    arguments = trl.SFTConfig(
        output_dir=tempfile.mkdtemp(),
        # packed: as many full rows as hold the documents of one step
        per_device_train_batch_size=max(1, round(BATCH * mean / case.longest)) if packs else BATCH,
        num_train_epochs=1,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        max_length=case.longest,
        packing=packs,
        shuffle_dataset=False,
        bf16=dtype == torch.bfloat16,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        logging_steps=1,
        dataloader_pin_memory=False,
    )
    rows = [
        {"input_ids": one.ids.tolist(), "labels": np.where(one.supervised, one.ids, -100).tolist()}
        for one in documents
    ]
    lora = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, task_type="CAUSAL_LM")
    trainer = Counting(
        build_model(case).to(dtype),
        arguments,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=_build_tokenizer(case),
        peft_config=lora,
        callbacks=[Note()],
    )
    trainer.train()
    return watch.stop(sum(counts[WARM_STEPS:]))


def _build_tokenizer(case: Case) -> Any:
    """Returns a tokenizer that nothing is tokenised with; TRL wants one."""
    import tokenizers

    words = {"<pad>": 0, "<s>": 1, "</s>": 2} | {f"w{i}": i for i in range(3, case.vocabulary)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "<pad>"))
    marks = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **marks)


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
    for step, batch in enumerate(_iter_batches(documents)):
        count = sum(int(one.supervised.sum()) for one in batch)
        loss = torch.zeros(())
        for piece in _divide(batch, at_once):
            packed = collate_packed([Example(one.ids, one.supervised, 0, 0, "") for one in piece])
            loss += task.add_gradients(packed, count)
        done = finish_step(adapter.parameters(), optimizer, loss, count, RATE, 1.0, step=step + 1)
        watch.losses.append(done.loss)
        watch.note_step()
    return watch.stop(_count_tokens(documents))


def _divide(documents: list[Document], at_once: int | None) -> Iterator[list[Document]]:
    """Yields the documents of a step in pieces of at most ``at_once`` tokens."""
    piece: list[Document] = []
    for one in documents:
        if at_once and piece and sum(len(it.ids) for it in [*piece, one]) > at_once:
            yield piece
            piece = []
        piece.append(one)
    yield piece


def _iter_batches(documents: list[Document]) -> Iterator[list[Document]]:
    for start in range(0, len(documents), BATCH):
        yield documents[start : start + BATCH]


def _count_tokens(documents: list[Document]) -> int:
    return sum(len(one.ids) for one in documents[WARM_STEPS * BATCH :])


def sort_by_length(documents: list[Document], seed: int) -> list[Document]:
    """Returns the documents in batches of similar length, the batches in random order."""
    batches = list(_iter_batches(sorted(documents, key=lambda one: len(one.ids))))
    order = np.random.default_rng(seed).permutation(len(batches))
    return [one for index in order for one in batches[index]]


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
