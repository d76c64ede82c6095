"""Packing, tensors and the order of training."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.engine.data.collate import IGNORED, collate_packed, collate_padded
from studio.engine.data.example import Example, ExampleStore
from studio.engine.data.loader import (
    epoch_documents,
    epoch_order,
    iter_micro_batches,
    iter_steps,
    longest_documents,
    steps_per_epoch,
)
from studio.engine.data.pack import group_padded, pack

LENGTHS = st.lists(st.integers(1, 40), max_size=40)


def example(length: int, first: int = 0, row: int = 1, source: str = "a") -> Example:
    ids = np.arange(first, first + length, dtype=np.int32)
    return Example(ids, ids % 3 != 0, 0, row, source)


def store(lengths: list[int], sources: list[int] | None = None) -> ExampleStore:
    positions = sources or [0] * len(lengths)
    names = [f"file{number}" for number in range(max(positions, default=0) + 1)]
    pairs = [
        (example(length, 100 * index, index + 1, names[position]), position)
        for index, (length, position) in enumerate(zip(lengths, positions, strict=True))
    ]
    return ExampleStore(pairs, names)


@given(lengths=LENGTHS, budget=st.integers(1, 100))
def test_groups_hold_everything_once_and_fit(lengths: list[int], budget: int) -> None:
    for groups, size in (
        (pack(lengths, budget), lambda group: sum(lengths[i] for i in group)),
        (group_padded(lengths, budget), lambda group: len(group) * max(lengths[i] for i in group)),
    ):
        assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
        assert all(size(group) <= budget or len(group) == 1 for group in groups)


@given(lengths=LENGTHS.filter(bool), budget=st.integers(40, 100))
def test_packing_leaves_at_most_one_group_half_empty(lengths: list[int], budget: int) -> None:
    groups = pack(lengths, budget)
    assert sum(sum(lengths[i] for i in group) * 2 <= budget for group in groups) <= 1


@given(lengths=LENGTHS.filter(bool))
def test_packed_and_padded_batches_train_the_same_tokens(lengths: list[int]) -> None:
    examples = list(store(lengths))
    packed, padded = collate_packed(examples), collate_padded(examples, pad_id=7)
    assert packed.bounds is not None
    assert padded.attention_mask is not None
    assert packed.tokens == padded.tokens == sum(lengths)
    assert packed.rows == padded.rows == len(lengths)
    assert packed.ids.dtype == packed.targets.dtype == packed.position_ids.dtype == torch.int64
    for row, (one, (start, end)) in enumerate(zip(examples, packed.bounds, strict=True)):
        ids, targets = packed.ids[0, start:end].tolist(), packed.targets[0, start:end].tolist()
        assert ids == one.ids.tolist()
        assert packed.position_ids[0, start:end].tolist() == list(range(len(one)))
        # By hand: the next token of the same document where it is supervised.
        wanted = [
            int(one.ids[i + 1]) if i + 1 < len(one) and one.supervised[i + 1] else IGNORED
            for i in range(len(one))
        ]
        assert targets == wanted
        assert padded.ids[row, : len(one)].tolist() == ids
        assert padded.targets[row, : len(one)].tolist() == wanted
        assert (padded.targets[row, len(one) :] == IGNORED).all()
        assert padded.attention_mask[row].sum() == len(one)
    trained = int((packed.targets != IGNORED).sum())
    assert packed.supervised_tokens == padded.supervised_tokens == trained
    assert store(lengths).supervised_count == trained


@settings(max_examples=40)
@given(
    lengths=LENGTHS.filter(bool),
    batch=st.integers(1, 9),
    budgets=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    packs=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_micro_batching_changes_no_step(
    lengths: list[int], batch: int, budgets: tuple[int, int], packs: bool, seed: int
) -> None:
    examples = store(lengths)
    first, second = (
        list(
            iter_steps(
                examples,
                batch_sequences=batch,
                micro_batch_tokens=budget,
                seed=seed,
                epoch=1,
                packs=packs,
            )
        )
        for budget in budgets
    )
    assert [step.documents for step in first] == [step.documents for step in second]
    assert [step.supervised_tokens for step in first] == [step.supervised_tokens for step in second]
    assert len(first) == steps_per_epoch(examples, [1.0], batch)
    assert all(len(step.documents) == batch for step in first[:-1])
    everything = [document for step in first for document in step.documents]
    assert sorted(everything) == list(range(len(lengths)))
    for step in first:
        assert sum(micro.tokens for micro in step.micro_batches) == sum(
            lengths[document] for document in step.documents
        )


@given(lengths=LENGTHS.filter(bool), start=st.integers(0, 50), epoch=st.integers(0, 3))
def test_a_resumed_epoch_goes_on_exactly(lengths: list[int], start: int, epoch: int) -> None:
    def steps(start_step: int) -> list[tuple[int, tuple[int, ...]]]:
        return [
            (step.step, step.documents)
            for step in iter_steps(
                store(lengths),
                batch_sequences=3,
                micro_batch_tokens=64,
                seed=5,
                epoch=epoch,
                start_step=start_step,
            )
        ]

    assert steps(start) == steps(0)[start:]


def test_epochs_and_seeds_differ() -> None:
    examples = store([3] * 50)
    orders = {
        tuple(epoch_order(examples, [1.0], seed, epoch).tolist())
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_the_order_is_the_same_in_every_version() -> None:
    # Pinned: resuming after an upgrade must go on with the same rows.
    assert epoch_order(store([3] * 8), [1.0], 42, 0).tolist() == [5, 7, 6, 4, 0, 3, 2, 1]


@pytest.mark.parametrize(("weight", "per_epoch"), [(1.0, 10), (2.0, 20), (0.5, 5), (0.01, 1)])
def test_weights_say_how_often_rows_come(weight: float, per_epoch: int) -> None:
    examples = store([3] * 30, [0] * 20 + [1] * 10)
    weights = [1.0, weight]
    assert epoch_documents(examples, weights) == 20 + per_epoch
    seen: Counter[int] = Counter()
    for epoch in range(10):
        order = epoch_order(examples, weights, 1, epoch).tolist()
        assert len(order) == 20 + per_epoch
        seen.update(order)
    assert all(seen[row] == 10 for row in range(20))
    rare = [seen[row] for row in range(20, 30)]
    assert sum(rare) == 10 * per_epoch
    assert max(rare) - min(rare) <= 1


def test_longest_documents_and_evaluation_batches() -> None:
    examples = store([3, 9, 5, 9])
    assert longest_documents(examples, 2) == [1, 3]
    batches = list(iter_micro_batches(examples, range(4), 14))
    assert sum(batch.rows for batch in batches) == 4
    assert max(batch.tokens for batch in batches) <= 14


def test_a_store_gives_back_what_it_was_given() -> None:
    examples = store([3, 1, 4], [0, 1, 0])
    assert [one.ids.tolist() for one in examples] == [[0, 1, 2], [100], [200, 201, 202, 203]]
    assert [one.source for one in examples[0:2]] == ["file0", "file1"]
    assert examples[-1].row == 3
    assert examples.token_count == 8
    with pytest.raises(IndexError):
        _ = examples[3]
    assert len(ExampleStore([], ["none"])) == 0
