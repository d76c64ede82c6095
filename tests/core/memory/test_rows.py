"""Row lengths for a forecast: counted, cut, packed, and guessed from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.memory.packing import pack
from studio.core.memory.rows import RowLengths, assume_rows
from studio.core.memory.text_lengths import get_bytes_per_token, guess_rows
from studio.core.starter import load_starter
from tests.core.memory.situations import build_recipe

LENGTHS = st.lists(st.integers(1, 10_000), min_size=1, max_size=200)


@given(LENGTHS)
def test_counts_means_and_percentiles_are_those_of_the_list(lengths: list[int]) -> None:
    rows = RowLengths.of(lengths)
    assert rows.longest == max(lengths)
    assert rows.mean_tokens * rows.rows == pytest.approx(sum(lengths))
    longer = sum(1 for length in lengths if length > rows.get_percentile(90))
    assert longer <= 0.1 * len(lengths)


@given(LENGTHS, st.integers(1, 5000))
def test_cutting_shortens_what_is_longer_and_nothing_else(lengths: list[int], most: int) -> None:
    rows = RowLengths.of(lengths).cut(most)
    assert rows.lengths == tuple(sorted((min(length, most) for length in lengths), reverse=True))
    assert rows.mean_tokens * rows.rows == pytest.approx(sum(rows.lengths))


@given(LENGTHS, st.integers(1, 8000), st.integers(1, 64))
def test_a_micro_batch_keeps_to_its_bound_or_holds_one_row(
    lengths: list[int], tokens: int, batch: int
) -> None:
    documents = RowLengths.of(lengths).fill_micro_batch(tokens, batch, packs=True)
    assert 1 <= len(documents) <= batch
    assert sum(documents) <= tokens or len(documents) == 1
    longest = sorted(lengths, reverse=True)[:batch]
    # as the training packs the step with the longest rows
    sums = [sum(longest[one] for one in group) for group in pack(longest, tokens)]
    assert sum(documents) == max(sums)
    filled = RowLengths.of(lengths).fill_micro_batch(tokens, batch, packs=False)
    assert set(filled) == {max(lengths)}
    assert sum(filled) <= tokens or len(filled) == 1


def test_many_rows_are_kept_as_a_selection_with_the_longest() -> None:
    rows = RowLengths.of(range(1, 100_001))
    assert len(rows.lengths) <= 4096
    assert rows.longest == 100_000
    assert rows.get_percentile(50) == pytest.approx(50_000, rel=0.01)


def test_lengths_in_files_are_guessed_from_their_text(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q" * 100}, {"role": "assistant", "content": "a" * 300}]
    lines = [json.dumps({"messages": turns, "source": "x" * 9999})] * 10
    lines += [json.dumps({"instruction": "i" * 30, "output": "o" * 10}), "no json"]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    found = guess_rows(build_recipe(), tmp_path, vocabulary=128_000, context=4096)
    assert found.is_guess
    assert found.rows == 11
    assert found.longest == pytest.approx(400 / get_bytes_per_token(128_000) + 10, abs=1)
    assert found.supervised_fraction == pytest.approx(3010 / 4040)


def test_json_files_columns_limits_and_weights_are_respected(tmp_path: Path) -> None:
    rows = [{"question": "q" * 40, "reply": "r" * 40, "noise": "n" * 999}] * 8
    (tmp_path / "d.json").write_text(json.dumps({"rows": rows}))
    source = {
        "source": "d.json",
        "columns": {"prompt": "question", "answer": "reply"},
        "limit": 6,
        "weight": 2.0,
    }
    recipe = build_recipe(data__train=[source])
    found = guess_rows(recipe, tmp_path, vocabulary=2, context=None)
    assert (found.rows, found.longest, found.supervised_fraction) == (12, 90, 0.5)


def test_unreadable_data_is_planned_for_at_full_length(tmp_path: Path) -> None:
    assert guess_rows(build_recipe(), tmp_path, 1000, 1024).longest == 1024
    assert guess_rows(build_recipe(data__max_tokens=300), tmp_path, 1000, None).longest == 300
    (tmp_path / "d.json").write_text("{broken")
    recipe = build_recipe(data__train=[{"source": "d.json"}])
    assert guess_rows(recipe, tmp_path, 1000, None) == assume_rows(2048)


def test_the_starter_rows_are_never_guessed_too_short() -> None:
    """Counted once with the starter's tokenizer: 480 rows, 99 % of them have 50 tokens at most."""
    kit = load_starter()
    file = str(kit.folder / kit.get_data_set().train_file)
    recipe = build_recipe(data__train=[{"source": file}])
    found = guess_rows(recipe, kit.folder, vocabulary=4096, context=None)
    assert found.rows == 480
    assert found.get_percentile(99) >= 50


def test_tables_and_folders_are_guessed_too(tmp_path: Path) -> None:
    text = "prompt;answer\n" + ("q" * 90 + ";" + "a" * 30 + "\n") * 8
    (tmp_path / "d.jsonl").mkdir()
    (tmp_path / "d.jsonl" / "rows.csv").write_text(text)
    (tmp_path / "d.jsonl" / "more.jsonl").write_text(json.dumps({"text": "t" * 120}) + "\n")
    (tmp_path / "d.jsonl" / "picture.png").write_bytes(b"x" * 9999)
    found = guess_rows(build_recipe(), tmp_path, vocabulary=2, context=None)
    assert found.rows == 9
    assert found.longest == 120 + 10
    assert found.supervised_fraction == pytest.approx((8 * 30 + 120) / (9 * 120))


def test_of_a_large_file_the_beginning_tells_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.core.memory.text_lengths._MOST_BYTES", 10_000)
    line = json.dumps({"text": "t" * 120}) + "\n"
    (tmp_path / "d.jsonl").write_text(line * 1000)
    found = guess_rows(build_recipe(), tmp_path, vocabulary=2, context=None)
    assert found.rows == pytest.approx(1000, rel=0.02)
    assert found.mean_tokens == 125
    source = {"source": "d.jsonl", "limit": 40}
    few = build_recipe(data__train=[source])
    assert guess_rows(few, tmp_path, vocabulary=2, context=None).rows == 40
