"""Millions of rows are gone through piece by piece: the same outcome as all at once, exactly."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from studio.core.recipe.schema_data import DataSettings
from studio.engine.data import chunks, stored, streamed
from studio.engine.data.chunks import list_places
from studio.engine.data.example import Example, ExampleStore, Flags
from studio.engine.data.loader import _random, epoch_order
from studio.engine.data.prepare import prepare
from studio.engine.data.sampling import SAMPLE_ROWS, choose_sample
from studio.engine.data.sources.row import Row
from studio.engine.data.split import hold_back
from studio.engine.data.spool import RowSpool
from studio.engine.data.whole import WholeCheck
from tests.engine.data.conftest import chat

KEYS = st.lists(st.binary(min_size=16, max_size=16) | st.just(b"\x80" + b"a" * 15), max_size=80)


@contextmanager
def _small(rows: int) -> Iterator[None]:
    with (
        mock.patch.object(chunks, "CHUNK_ROWS", rows),
        mock.patch.object(chunks, "GROUP_ROWS", rows),
        mock.patch.object(stored, "CHUNK_ROWS", rows),
        mock.patch.object(streamed, "CHUNK_ROWS", rows),
    ):
        yield


def _choose_plainly(keys: NDArray[np.bytes_], fraction: float) -> Flags:
    """Hold rows back as runs did that were started before: all keys sorted at once."""
    kinds, group, counts = np.unique(keys, return_inverse=True, return_counts=True)
    chosen = np.zeros(len(kinds), dtype=np.bool_)
    if fraction <= 0 or len(kinds) < 2:
        return np.zeros(len(keys), dtype=np.bool_)
    wanted = min(max(1, round(fraction * len(keys))), len(keys) - 1)
    held = 0
    for index, count in enumerate(counts.tolist()):
        if held + count <= wanted:
            chosen[index] = True
            held += count
        if held == wanted:
            break
    if not held:
        chosen[int(np.argmin(counts))] = True
    return np.asarray(chosen[group])


@given(
    first=KEYS,
    second=KEYS,
    copies=st.integers(1, 4),
    fraction=st.floats(0, 0.9),
    chance=st.randoms(use_true_random=False),
)
def test_the_rows_held_back_are_those_of_sorting_all_keys_at_once(
    first: list[bytes], second: list[bytes], copies: int, fraction: float, chance: random.Random
) -> None:
    keys = [np.array(one * copies, dtype="S16") for one in (first, second)]
    usable = [np.array([chance.random() < 0.9 for _ in one], dtype=np.bool_) for one in keys]
    joined = np.concatenate([one[flags] for one, flags in zip(keys, usable, strict=True)])
    plain = _choose_plainly(joined, fraction)
    with _small(3):
        held = hold_back(keys, usable, fraction)
    found = np.concatenate([one[flags] for one, flags in zip(held, usable, strict=True)])
    assert found.tolist() == plain.tolist()
    assert not any((one & ~flags).any() for one, flags in zip(held, usable, strict=True))


def test_the_sample_and_the_order_are_those_of_runs_started_before() -> None:
    for rows in (SAMPLE_ROWS, 8192, 30_011):
        plain = np.random.RandomState(rows).choice(rows, SAMPLE_ROWS, replace=False)
        assert choose_sample(rows).tolist() == sorted(plain.tolist())
    ids = np.zeros(1, np.int32)
    example = Example(ids, ids > 0, 0, 1, "a")
    examples = ExampleStore([(example, place % 3) for place in range(500)], ["a", "b", "c"])
    weights, seed = [1.0, 0.3, 2.0], 7
    for epoch in range(3):
        drawn = []
        for source, weight in enumerate(weights):
            rows = np.flatnonzero(examples.source_positions == source).astype(np.int64)
            count = max(1, round(len(rows) * weight))
            if count != len(rows):
                places = (epoch * count + np.arange(count)) % len(rows)
                rows = _random(seed, "source", source).permutation(rows)[places]
            drawn.append(rows)
        plain = _random(seed, "epoch", epoch).permutation(np.concatenate(drawn))
        assert epoch_order(examples, weights, seed, epoch).tolist() == plain.tolist()


def _rows() -> list[Any]:
    chance = random.Random(5)
    rows = [
        chat(f"question {chance.randrange(60)} ", f"{'Yes' if chance.random() < 0.97 else 'No'}")
        for _ in range(300)
    ]
    return rows + [chat(f"Long {'question ' * (i % 9)}", f"answer {i}" * 9) for i in range(40)]


def test_what_all_rows_say_together_is_the_same_in_pieces(
    chat_tokenizer: Any,
    write_rows: Callable[..., Path],
    settings_for: Callable[..., DataSettings],
    tmp_path: Path,
) -> None:
    settings = settings_for(write_rows(_rows()), max_tokens=100, validation={"fraction": 0.2})
    seen = []
    for rows in (1 << 20, 7):
        with _small(rows):
            found = prepare(settings, chat_tokenizer, 60_000, base_folder=tmp_path)
            origins = [one for some in found.train.iter_origins() for one in some.tolist()]
        seen.append([found.problems, found.lengths.tolist(), found.end_of_turn_ids, origins])
        seen[-1] += [
            [(one.ids.tolist(), one.supervised.tolist(), one.row) for one in side]
            for side in (found.train, found.validation)
        ]
    assert seen[0] == seen[1]
    counts = {one.code: one.count for one in seen[0][0]}
    assert counts["duplicate_rows"] > 100
    assert counts["contradicting_answers"] > 50
    assert counts["truncated_prompt"] > 5
    table = found.tables[0]
    asked: dict[int, set[int]] = {}
    for row in table.rows[:]:
        asked.setdefault(int(row["prompt"]), set()).add(int(row["answer"]))
    contradicted = [len(asked[int(row["prompt"])]) > 1 for row in table.rows[:]]
    assert counts["contradicting_answers"] == sum(contradicted)
    known = [row["key"] for row in table.rows[:]]
    again = [key in known[:place] for place, key in enumerate(known)]
    assert counts["duplicate_rows"] + counts.get("near_duplicates", 0) == sum(again)


def test_the_pieces_of_a_text_are_counted_across_what_is_written_at_once(
    chat_tokenizer: Any,
    write_rows: Callable[..., Path],
    settings_for: Callable[..., DataSettings],
    tmp_path: Path,
) -> None:
    texts = [{"text": "the treasure " * (1 + 6 * (i % 4))} for i in range(20)]
    settings = settings_for(write_rows(texts), max_tokens=12, overlap_tokens=2)
    found = prepare(settings, chat_tokenizer, None, base_folder=tmp_path).train
    with _small(3):
        origins = np.concatenate(list(found.iter_origins()))
    pieces: dict[int, int] = {}
    for one in origins:
        index = int(one["index"])
        assert one["piece"] == pieces.get(index, 0)
        pieces[index] = pieces.get(index, 0) + 1
    assert max(pieces.values()) == 4
    assert list(pieces) == list(range(20))


@pytest.mark.parametrize(("is_rare", "is_told"), [(True, True), (False, False)])
def test_an_answer_that_is_nearly_always_given_is_found_in_pieces(
    is_rare: bool,
    is_told: bool,
    chat_tokenizer: Any,
    write_rows: Callable[..., Path],
    settings_for: Callable[..., DataSettings],
    tmp_path: Path,
) -> None:
    rows = [chat(f"q{i}", "yes" if is_rare and i % 20 else f"no {i % 30}") for i in range(100)]
    settings = settings_for(write_rows(rows))
    with _small(9):
        found = prepare(settings, chat_tokenizer, None, base_folder=tmp_path)
        assert ("one_answer_dominates" in {one.code for one in found.problems}) == is_told
        if is_told:
            log = mock.Mock()
            whole = WholeCheck(found.tables, log)
            whole.check(None)
            assert len(whole.found["one_answer_dominates"]) == 95


def test_numbers_about_rows_that_are_put_by_stay_on_disk(tmp_path: Path) -> None:
    spool = RowSpool(tmp_path, mock.Mock(columns={"text": "text"}))
    for number in range(1, 6):
        key = bytes([number]) * 16
        row = Row({"text": "a" * number, "other": 1}, tmp_path / "a.jsonl", number, 2 * number)
        spool.add(row, key, has_answer=number != 3)
    facts = spool.finish()
    assert facts["has_answer"][:].tolist() == [True, True, False, True, True]
    assert facts["key"][4] == b"\x05" * 16
    row, _ = spool.read(3)
    assert (row.values, row.number, row.line) == ({"text": "aaaa"}, 4, 8)
    assert list_places(facts["has_answer"][:]).tolist() == [0, 1, 3, 4]
    spool.close()
