"""Rows of token numbers that somebody else prepared, and rows that are passed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.errors import DatasetInvalid
from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.prepare import PreparedData, prepare
from tests.engine.data.conftest import chat

Write = Callable[..., Path]
SettingsFor = Callable[..., DataSettings]


def _codes(prepared: PreparedData) -> dict[str, int]:
    return {problem.code: problem.count for problem in prepared.problems}


def test_labels_decide_what_is_trained(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    end = chat_tokenizer.eos_token_id
    rows = [
        {"input_ids": [5, 6, 7, end], "labels": [-100, -100, 7, end]},
        {"input_ids": [5, 6, end, 0, 0], "attention_mask": [1, 1, 1, 0, 0]},
    ]
    prepared = prepare(settings_for(write_rows(rows)), chat_tokenizer, None, base_folder=tmp_path)
    assert [one.ids.tolist() for one in prepared.train] == [[5, 6, 7, end], [5, 6, end]]
    assert [one.supervised.tolist() for one in prepared.train] == [
        [False, False, True, True],
        [True, True, True],
    ]
    assert prepared.findings[0].format == "tokens"


def test_long_rows_of_tokens_lose_their_prompt_or_are_divided(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    ids = list(range(10, 30))
    rows = [{"input_ids": ids, "labels": [-100] * 15 + ids[15:]}, {"input_ids": ids}]
    settings = settings_for(
        write_rows(rows), {"columns": {"labels": "labels"}, "format": "tokens"}, max_tokens=8
    )
    prepared = prepare(settings, chat_tokenizer, None, base_folder=tmp_path)
    assert prepared.train[0].ids.tolist() == ids[12:]
    assert [len(one) for one in prepared.train] == [8, 8, 8, 4]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"input_ids": [1, 2], "labels": [1]}, "both must be as long"),
        ({"input_ids": [1, 2, 3], "labels": [2, 3, -100]}, "already moved by one place"),
        ({"input_ids": [1, 2, 3], "labels": [-100, 7, 3]}, "label 2 is 7"),
        ({"input_ids": [1, -2], "labels": None}, "whole numbers from 0"),
        ({"input_ids": [1.5], "labels": None}, "whole numbers"),
        ({"input_ids": "12", "labels": None}, "a list of numbers"),
        ({"input_ids": [], "labels": []}, "empty"),
        ({"input_ids": [1], "attention_mask": [0]}, "filler"),
        ({"input_ids": [1], "attention_mask": [2]}, "one 0 or 1"),
        ({"input_ids": [100000], "labels": None}, "does not have"),
        ({"input_ids": [9, 9, 1], "labels": [-100, 9, -100]}, "end mark"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(
    row: dict[str, Any],
    said: str,
    chat_tokenizer: Any,
    write_rows: Write,
    settings_for: SettingsFor,
    tmp_path: Path,
) -> None:
    assert chat_tokenizer.eos_token_id == 1
    with pytest.raises(DatasetInvalid, match=said):
        prepare(settings_for(write_rows([row])), chat_tokenizer, None, base_folder=tmp_path)


def test_overlap_is_read_again_and_learnt_once(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([{"text": "Where is the treasure? " * 30}])
    whole = prepare(settings_for(path), chat_tokenizer, None, base_folder=tmp_path)
    settings = settings_for(path, max_tokens=30, overlap_tokens=10)
    prepared = prepare(settings, chat_tokenizer, None, base_folder=tmp_path)
    assert len(prepared.train) > 3
    learnt = np.concatenate([one.ids[one.supervised] for one in prepared.train])
    assert learnt.tolist() == whole.train[0].ids[whole.train[0].supervised].tolist()
    first, second = prepared.train[0], prepared.train[1]
    assert second.ids[:10].tolist() == first.ids[-10:].tolist()
    assert not second.supervised[:10].any()


def test_texts_end_where_their_document_ends(
    chat_tokenizer: Any, settings_for: SettingsFor, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("The first.<|endoftext|>The second.")
    prepared = prepare(settings_for("text.txt"), chat_tokenizer, None, base_folder=tmp_path)
    assert [chat_tokenizer.decode(one.ids) for one in prepared.train] == [
        "The first.<|im_end|>",
        "The second.<|im_end|>",
    ]


def test_broken_rows_are_left_out_only_after_the_user_agreed(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([chat("q1", "a1"), {"messages": "none"}, chat("q2", "a2")])
    with path.open("ab") as stream:
        stream.write(b'{"messages": \n\xff\xfe\n17\n')
    with pytest.raises(DatasetInvalid, match="line 4"):
        prepare(settings_for(path), chat_tokenizer, None, base_folder=tmp_path)
    stated = {"skip_broken": True, "format": "messages"}
    prepared = prepare(settings_for(path, stated), chat_tokenizer, None, base_folder=tmp_path)
    assert len(prepared.train) == 2
    assert _codes(prepared) == {"broken_rows": 4}
    places = " ".join(prepared.problems[0].places)
    assert all(f"line {line}" in places for line in (2, 4, 5, 6))


@pytest.mark.parametrize(
    ("name", "content", "rows", "broken"),
    [
        ("a.csv", b"prompt,answer\n1,2\n3\n\x81,4\n5,6\n", 2, 2),
        ("a.json", b'[{"prompt": "a", "answer": "b"}, 7, {"prompt": "c", "answer": "d"}]', 2, 1),
        ("a.jsonl", b'{"prompt": "a", "answer": "b"}\n{"prompt": "c", "answer": null}\n', 1, 1),
    ],
)
def test_each_kind_of_table_passes_over_broken_rows(
    name: str,
    content: bytes,
    rows: int,
    broken: int,
    chat_tokenizer: Any,
    settings_for: SettingsFor,
    tmp_path: Path,
) -> None:
    (tmp_path / name).write_bytes(content)
    stated = {"skip_broken": True, "columns": {"prompt": "prompt", "answer": "answer"}}
    prepared = prepare(settings_for(name, stated), chat_tokenizer, None, base_folder=tmp_path)
    assert len(prepared.train) == rows
    assert _codes(prepared)["broken_rows"] == broken


def test_a_file_of_broken_rows_alone_is_refused(
    chat_tokenizer: Any, settings_for: SettingsFor, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b"1\n2\n")
    settings = settings_for("rows.jsonl", {"skip_broken": True})
    with pytest.raises(DatasetInvalid):
        prepare(settings, chat_tokenizer, None, base_folder=tmp_path)
