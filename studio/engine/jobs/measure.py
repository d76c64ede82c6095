"""The measuring job: two real training steps on the longest rows, to see memory and time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch

from studio.core.events.types import DryRunMeasured, Event, PhaseEntered, RowsCounted, RunFinished
from studio.core.jobs.orders import MeasureOrder
from studio.core.memory.card import find_device
from studio.core.memory.rows import RowLengths
from studio.core.recipe.load import load_recipe
from studio.core.runs.layout import RunLayout
from studio.engine.data.collate import MicroBatch
from studio.engine.data.loader import iter_micro_batches, longest_documents
from studio.engine.data.prepare import PreparedData
from studio.engine.jobs.lease import wait_for_device
from studio.engine.jobs.requests import RequestFeed, StopWished
from studio.engine.jobs.settled import SettledRecipe
from studio.engine.jobs.train_data import load_data
from studio.engine.jobs.train_model import LoadedBase, load_base
from studio.engine.models.files import load_config, load_tokenizer
from studio.engine.models.load import resolve_device
from studio.engine.models.reference import find_model
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train.guard.card import stay_within_card
from studio.engine.train.optimizers import build_optimizer
from studio.engine.train.peak import PeakMeter
from studio.engine.train.random_state import seed_everything
from studio.engine.train.resolve import resolve_micro_batch_tokens
from studio.engine.train.step import finish_step

_STEPS = 2
_MICRO_BATCHES = 2
"""Enough for gradients to be there while the second micro-batch is computed."""


def run(order: MeasureOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Measures the run's recipe; nothing that was trained is kept.

    Yields:
        What preparing a training states, then RowsCounted, DryRunMeasured, RunFinished.

    Raises:
        StudioError: Something in the recipe, the model or the data forbids to train.
    """
    try:
        yield from _run(order, layout, control)
    except StopWished:
        yield RunFinished(step=0)


def _run(order: MeasureOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    base_folder = Path(order.base_folder)
    settled = SettledRecipe(load_recipe(layout.recipe))
    recipe = settled.recipe
    reference = find_model(recipe.base.model, base_folder, recipe.base.revision)
    free_bytes = find_device(recipe.train.devices).free_bytes
    device, why = resolve_device(recipe.train.devices)
    yield from settled.settle("train.devices", str(device), why)
    yield from wait_for_device(layout, device, control)
    yield from stay_within_card(device)
    tokenizer, config = load_tokenizer(reference.folder), load_config(reference.folder)
    data = yield from load_data(recipe.data, reference, tokenizer, config, base_folder, control)
    yield from settled.settle("data.max_tokens", data.max_tokens, "fits 99 % of the rows")
    yield _count_rows(data)
    longest = int(data.train.lengths.max())
    base = yield from load_base(settled, reference, device, longest, base_folder)
    control.check_stop()
    choice = resolve_micro_batch_tokens(
        settled.recipe.train,
        base.model,
        longest,
        recomputing=base.recomputing.now,
    )
    yield from settled.settle("train.micro_batch_tokens", choice.value, choice.why)
    yield PhaseEntered(phase="training", detail="measuring")
    yield from _measure(settled, data, base, free_bytes, control)
    yield RunFinished(step=_STEPS)


def _count_rows(data: PreparedData) -> RowsCounted:
    share = data.train.supervised_count / max(1, data.train.token_count)
    found = RowLengths.of(data.train.lengths.tolist(), share)
    return RowsCounted(
        lengths=found.lengths,
        rows=found.rows,
        mean_tokens=found.mean_tokens,
        supervised_fraction=share,
    )


def _measure(
    settled: SettledRecipe,
    data: PreparedData,
    base: LoadedBase,
    free_bytes: int,
    control: RequestFeed,
) -> Iterator[Event]:
    train = settled.recipe.train
    seed_everything(train.seed)
    batches = _choose_batches(settled, data, base)
    optimizer = build_optimizer(base.adapter, train)
    task = CausalTask(base.parts)
    device = base.model.device
    meter = PeakMeter(device, free_bytes)
    base.model.train()
    loaded = meter.start()
    seconds = 0.0
    for step in range(_STEPS):
        start = time.perf_counter()  # the other clock of Windows ticks 64 times a second
        total = torch.zeros((), device=device)
        supervised = sum(batch.supervised_tokens for batch in batches)
        for batch in batches:
            control.check_stop()
            total += task.add_gradients(batch, supervised)
        finish_step(
            base.adapter.parameters(),
            optimizer,
            total,
            supervised,
            train.learning_rate,
            train.max_gradient_norm,
            step + 1,
        )
        seconds = time.perf_counter() - start  # the last step counts: the first one warms up
    now = base.recomputing.now
    yield DryRunMeasured(
        device=str(device),
        loaded_bytes=loaded,
        peak_bytes=meter.stop(),
        documents=_get_documents(batches[0]),
        supervised_tokens=batches[0].supervised_tokens,
        tokens=sum(batch.tokens for batch in batches),
        seconds=seconds,
        dtype=settled.recipe.base.dtype,
        recomputing=(now.none, now.mlp, now.all),
        micro_batch_tokens=int(train.micro_batch_tokens),
    )


def _choose_batches(
    settled: SettledRecipe, data: PreparedData, base: LoadedBase
) -> list[MicroBatch]:
    """Returns the micro-batches of the longest rows, the largest first, as few as matter."""
    train = settled.recipe.train
    batches = iter_micro_batches(
        data.train,
        longest_documents(data.train, train.batch_sequences),
        int(train.micro_batch_tokens),
        packs=base.is_packed,
    )
    largest = sorted(batches, key=lambda batch: batch.ids.numel(), reverse=True)
    return largest[:_MICRO_BATCHES]


def _get_documents(batch: MicroBatch) -> tuple[int, ...]:
    if batch.bounds is not None:
        return tuple(end - start for start, end in batch.bounds)
    rows, longest = batch.ids.shape
    return (longest,) * rows
