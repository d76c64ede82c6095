"""What the user leaves out is not learnt, is counted, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import DatasetInvalid
from studio.core.recipe.load import parse_recipe
from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.digest import digest_row
from studio.engine.data.formats import FORMATS
from studio.engine.data.patterns import columns_of, fill, is_pattern
from studio.engine.data.prepare import prepare
from studio.engine.data.turns import RowInvalid
from tests.engine.data.conftest import chat

Write = Callable[..., Path]
SettingsFor = Callable[..., DataSettings]

ROWS = [
    chat("one?", "first"),
    chat("one?", "first"),
    chat("ONE?", "first"),
    chat("two?", "yes"),
    chat("two?", "no"),
    chat("three?", "write to jane@acme.org"),
    chat("word " * 40, "long"),
]


def learnt_rows(settings: DataSettings, tokenizer: Any, folder: Path) -> tuple[list[int], int]:
    """Return the numbers of the rows that are learnt, and how many were left out by choice."""
    found = prepare(settings, tokenizer, None, base_folder=folder)
    counts = {one.code: one.count for one in found.problems}
    return [one.row for one in found.train], counts.get("left_out_by_choice", 0)


@pytest.mark.parametrize(
    ("codes", "kept"),
    [
        ([], [1, 2, 3, 4, 5, 6, 7]),
        (["duplicate_rows"], [1, 3, 4, 5, 6, 7]),
        (["near_duplicates", "duplicate_rows"], [1, 4, 5, 6, 7]),
        (["contradicting_answers"], [1, 2, 3, 6, 7]),
        (["email_address"], [1, 2, 3, 4, 5, 7]),
        (["truncated_prompt"], [1, 2, 3, 4, 5, 6]),
    ],
)
def test_rows_with_a_finding_are_left_out_and_counted(
    codes: list[str],
    kept: list[int],
    chat_tokenizer: Any,
    write_rows: Write,
    settings_for: SettingsFor,
    tmp_path: Path,
) -> None:
    settings = settings_for(write_rows(ROWS), leave_out=codes, max_tokens=60)
    rows, counted = learnt_rows(settings, chat_tokenizer, tmp_path)
    assert rows == kept
    assert counted == len(ROWS) - len(kept)


def test_rows_that_are_much_like_another_are_left_out(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    words = [f"word{number}" for number in range(40)]
    rows = [chat("tell", " ".join(words)), chat("ask", "x"), chat("tell", " ".join([*words, "!"]))]
    path = write_rows(rows)
    kept, counted = learnt_rows(
        settings_for(path, leave_out=["similar_rows"]), chat_tokenizer, tmp_path
    )
    assert (kept, counted) == ([1, 2], 1)


def test_a_row_left_out_by_hand_is_on_neither_side(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([chat(f"q{i}", f"a{i}") for i in range(20)])
    whole = prepare(
        settings_for(path, validation={"fraction": 0.2}), chat_tokenizer, None, base_folder=tmp_path
    )
    record = FORMATS["messages"].read(chat("q3", "a3"), {"messages": "messages"})
    mark = digest_row(record).key.hex()
    settings = settings_for(path, validation={"fraction": 0.2}, exclude=[mark, "no mark"])
    found = prepare(settings, chat_tokenizer, None, base_folder=tmp_path)
    rows = {one.row for one in [*found.train, *found.validation]}
    assert rows == {one.row for one in [*whole.train, *whole.validation]} - {4}
    assert len(found.validation) == 4


def test_a_file_that_is_switched_off_is_not_read(
    chat_tokenizer: Any, write_rows: Write, tmp_path: Path
) -> None:
    write_rows([chat("a?", "b")], "one.jsonl")
    sources = [{"source": "one.jsonl"}, {"source": "missing.jsonl", "enabled": False}]
    settings = DataSettings.model_validate({"train": sources, "validation": {"fraction": 0}})
    found = prepare(settings, chat_tokenizer, None, base_folder=tmp_path)
    assert found.train.sources == ("one.jsonl",)
    nothing = DataSettings.model_validate({"train": [sources[1]]})
    with pytest.raises(DatasetInvalid, match="switched off"):
        prepare(nothing, chat_tokenizer, None, base_folder=tmp_path)


@pytest.mark.parametrize(
    ("turns", "learnt"), [("all", ["a1", "a2", "a3"]), ("1, -1", ["a1", "a3"]), ("2", ["a2"])]
)
def test_only_the_chosen_answers_are_learnt(
    turns: str,
    learnt: list[str],
    chat_tokenizer: Any,
    write_rows: Write,
    settings_for: SettingsFor,
    tmp_path: Path,
) -> None:
    path = write_rows([chat("q1", "a1", "q2", "a2", "q3", "a3")])
    settings = settings_for(path, supervise_turns=turns)
    row = prepare(settings, chat_tokenizer, None, base_folder=tmp_path).train[0]
    taught = chat_tokenizer.decode(row.ids[row.supervised])
    assert [one for one in taught.split("<|im_end|>") if one] == learnt


def test_turn_numbers_are_checked_by_the_recipe() -> None:
    raw = {"base": {"model": "m"}, "data": {"train": [{"source": "x"}], "supervise_turns": "one"}}
    with pytest.raises(Exception, match="supervise_turns"):
        parse_recipe(raw)


def test_columns_in_braces_make_one_text(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([{"title": "Two", "body": "What is two?", "n": 2, "none": None}])
    columns = {"prompt": "{title}: {body}{none}", "answer": "It is { n }."}
    settings = settings_for(path, {"columns": columns})
    row = prepare(settings, chat_tokenizer, None, base_folder=tmp_path).train[0]
    text = chat_tokenizer.decode(row.ids)
    assert "user\nTwo: What is two?<|im_end|>" in text
    assert chat_tokenizer.decode(row.ids[row.supervised]).strip() == "It is 2.<|im_end|>"
    lacking = settings_for(path, {"columns": {**columns, "prompt": "{subject}"}})
    with pytest.raises(DatasetInvalid, match="no column for prompt"):
        prepare(lacking, chat_tokenizer, None, base_folder=tmp_path)


def test_braces_of_their_own_stay() -> None:
    assert fill("{{x}} {a}", {"a": [1]}) == "{x} [1]"
    assert columns_of("{a} {b} { a }") == ["a", "b"]
    assert not is_pattern("{odd}", {"{odd}": 1})
    assert not is_pattern("{{x}}", {})
    with pytest.raises(RowInvalid):
        fill("{a}", {})
