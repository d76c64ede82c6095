"""Trains as others do: PEFT with transformers' Trainer, and TRL's SFTTrainer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers

from tests.benchmarks.training.cases import (
    ALPHA,
    BATCH,
    RANK,
    RATE,
    TARGETS,
    WARM_STEPS,
    Case,
    Document,
    build_model,
    count_tokens,
)
from tests.benchmarks.training.padding import pad
from tests.benchmarks.training.stopwatch import Stopwatch

_SETTINGS: dict[str, Any] = {
    "num_train_epochs": 1,
    "learning_rate": RATE,
    "lr_scheduler_type": "constant",
    "max_grad_norm": 1.0,
    "save_strategy": "no",
    "report_to": [],
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}


class _Note(transformers.TrainerCallback):
    """Passes on that a step was done, and keeps the losses that are logged."""

    def __init__(self, note_step: Callable[[], None], losses: list[float]) -> None:
        self._note_step, self._losses = note_step, losses

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self._note_step()

    def on_log(self, *args: Any, logs: dict[str, float], **kwargs: Any) -> None:
        self._losses += [logs["loss"]] if "loss" in logs else []


def add_peft_adapters(model: Any) -> Any:
    """Returns the model with PEFT's adapters on all linear layers."""
    import peft

    lora = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS)
    return peft.get_peft_model(model, lora)


def train_in_order(
    model: Any, documents: list[Document], note_step: Callable[[], None], **settings: Any
) -> list[float]:
    """Trains with transformers' Trainer on padded batches; returns the losses that it logs.

    ``settings`` are further arguments of the Trainer.
    """
    from torch.utils.data import SequentialSampler

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return SequentialSampler(documents)

    arguments = transformers.TrainingArguments(
        output_dir=tempfile.mkdtemp(), remove_unused_columns=False, **_SETTINGS, **settings
    )
    losses: list[float] = []
    InOrder(model, arguments, pad, documents, callbacks=[_Note(note_step, losses)]).train()
    return losses


def run_peft(case: Case, documents: list[Document], dtype: torch.dtype) -> dict[str, Any]:
    """Measures PEFT with transformers' Trainer on padded batches."""
    model = add_peft_adapters(build_model(case).to(dtype))
    watch = Stopwatch()
    watch.losses = train_in_order(
        model,
        documents,
        watch.note_step,
        per_device_train_batch_size=BATCH,
        bf16=dtype == torch.bfloat16,
        use_cpu=True,
        logging_steps=1,
    )
    return watch.stop(count_tokens(documents, WARM_STEPS * BATCH))


def run_trl(
    case: Case, documents: list[Document], dtype: torch.dtype, *, packs: bool
) -> dict[str, Any]:
    """Measures PEFT with TRL's SFTTrainer, which recomputes layers unless told otherwise."""
    import datasets
    import peft
    import trl

    counts: list[int] = []

    class Counting(trl.SFTTrainer):  # type: ignore[misc]  # trl has no types
        def training_step(self, model: Any, inputs: dict[str, Any], *rest: Any) -> Any:
            mask = inputs.get("attention_mask")
            counts.append(int(inputs["input_ids"].numel() if mask is None else mask.sum()))
            return super().training_step(model, inputs, *rest)

    watch = Stopwatch()
    mean = count_tokens(documents) / len(documents)
    arguments = trl.SFTConfig(
        output_dir=tempfile.mkdtemp(),
        # packed: as many full rows as hold the documents of one step
        per_device_train_batch_size=max(1, round(BATCH * mean / case.longest)) if packs else BATCH,
        max_length=case.longest,
        packing=packs,
        shuffle_dataset=False,
        bf16=dtype == torch.bfloat16,
        use_cpu=True,
        logging_steps=1,
        **_SETTINGS,
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
        callbacks=[_Note(watch.note_step, watch.losses)],
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
