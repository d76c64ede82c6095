"""The order of training: which documents make up each step; a pure function of its arguments.

Nothing is remembered between steps. A run that stopped after ``step`` steps of an epoch goes on
with ``start_step=step`` and sees exactly what it would have seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.chunks import join_arrays, list_places
from studio.engine.data.collate import MicroBatch, collate_packed, collate_padded
from studio.engine.data.example import Examples, ExampleStore
from studio.engine.data.pack import group_padded, pack


@dataclass(frozen=True)
class StepPlan:
    """One optimizer step: its number inside the epoch and its micro-batches.

    ``documents`` are positions in the store; none where all that were drawn cannot be trained.
    ``supervised_tokens`` is the divisor of the loss of the whole step.
    """

    epoch: int
    step: int
    documents: tuple[int, ...]
    micro_batches: tuple[MicroBatch, ...]
    supervised_tokens: int


def epoch_order(
    examples: Examples, weights: Sequence[float], seed: int, epoch: int
) -> NDArray[np.integer[Any]]:
    """Return the positions of the documents of one epoch in their random order.

    A file of weight 1 comes once, of weight 2 twice per epoch. Of a file of weight 0.5 one half
    comes in one epoch and the other half in the next.

    Args:
        examples: The training documents.
        weights: One weight per entry of ``examples.sources``.
        seed: The run's seed.
        epoch: Counts from 0.
    """
    drawn = [
        _draw(list_places(examples.source_positions == source), weight, seed, epoch, source)
        for source, weight in enumerate(weights)
    ]
    every = join_arrays(drawn)
    _random(seed, "epoch", epoch).shuffle(every)
    return every


def epoch_documents(examples: Examples, weights: Sequence[float]) -> int:
    """Return how many documents an epoch has; the same in every epoch."""
    return sum(
        _drawn_count(int(np.count_nonzero(examples.source_positions == source)), weight)
        for source, weight in enumerate(weights)
    )


def steps_per_epoch(examples: Examples, weights: Sequence[float], batch_sequences: int) -> int:
    """Return the number of optimizer steps of an epoch; the last one may be smaller."""
    return -(-epoch_documents(examples, weights) // batch_sequences)


def iter_steps(
    examples: Examples,
    *,
    batch_sequences: int,
    micro_batch_tokens: int,
    seed: int,
    epoch: int,
    start_step: int = 0,
    weights: Sequence[float] | None = None,
    packs: bool = True,
    pad_id: int = 0,
) -> Iterator[StepPlan]:
    """Yield the steps of one epoch from ``start_step`` on.

    Every step has ``batch_sequences`` documents, less those that turn out to be untrainable where
    rows are tokenised as they are needed; the last of an epoch has what is left and never
    reaches into the next epoch. How a step is divided into micro-batches does not change which
    documents it has.

    Args:
        examples: The training documents.
        batch_sequences: Documents per step.
        micro_batch_tokens: Most tokens computed at once; a longer document stands alone.
        seed: The run's seed.
        epoch: Counts from 0.
        start_step: Steps of this epoch that are already done.
        weights: One weight per file; 1 for each where left out.
        packs: One row without filler, or rows of equal length.
        pad_id: Fills rows when ``packs`` is off.
    """
    weights = [1.0] * len(examples.sources) if weights is None else weights
    order = epoch_order(examples, weights, seed, epoch)
    for step in range(start_step, -(-len(order) // batch_sequences)):
        drawn = order[step * batch_sequences : (step + 1) * batch_sequences]
        documents, _ = examples.measure(drawn.tolist())
        batches = tuple(
            iter_micro_batches(examples, documents, micro_batch_tokens, packs=packs, pad_id=pad_id)
        )
        yield StepPlan(
            epoch=epoch,
            step=step,
            documents=tuple(documents),
            micro_batches=batches,
            supervised_tokens=sum(batch.supervised_tokens for batch in batches),
        )


def iter_micro_batches(
    examples: Examples,
    documents: Sequence[int],
    micro_batch_tokens: int,
    *,
    packs: bool = True,
    pad_id: int = 0,
) -> Iterator[MicroBatch]:
    """Yield micro-batches that together hold the given documents once each.

    Documents that turn out to be untrainable are left out.
    """
    documents, lengths = examples.measure(documents)
    if packs:
        for group in pack(lengths, micro_batch_tokens):
            chosen = tuple(documents[position] for position in group)
            batch = collate_packed([examples[one] for one in chosen])
            yield replace(batch, documents=chosen)
        return
    for group in group_padded(lengths, micro_batch_tokens):
        chosen = tuple(documents[position] for position in group)
        yield replace(collate_padded([examples[one] for one in chosen], pad_id), documents=chosen)


def longest_documents(examples: ExampleStore, batch_sequences: int) -> list[int]:
    """Return the positions of the longest documents: the step that needs the most memory."""
    order = np.argsort(~examples.lengths, kind="stable")  # turned round, in any kind of number
    return [int(position) for position in order[:batch_sequences]]


def _drawn_count(rows: int, weight: float) -> int:
    return max(1, round(rows * weight)) if rows else 0


def _draw(
    rows: NDArray[np.integer[Any]], weight: float, seed: int, epoch: int, source: int
) -> NDArray[np.integer[Any]]:
    """Return the rows of one file that this epoch takes, walking on through a fixed shuffle."""
    count = _drawn_count(len(rows), weight)
    if count == len(rows):
        return rows
    _random(seed, "source", source).shuffle(rows)
    places = (epoch * count + np.arange(count)) % len(rows)
    return rows[places]


def _random(*parts: object) -> np.random.RandomState:
    """Return a generator that depends on the parts alone.

    RandomState is frozen by NumPy: its numbers stay the same in every version, so that a run can
    be resumed after an upgrade.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
    return np.random.RandomState(np.frombuffer(digest, dtype=np.uint32))
