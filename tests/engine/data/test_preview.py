"""The preview shows what training sees, and reads no further than it must."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.prepare import prepare
from studio.engine.data.preview import preview, token_texts
from tests.engine.data.conftest import chat

Write = Callable[..., Path]
SettingsFor = Callable[..., DataSettings]


def test_rows_are_shown_as_they_are_trained(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    rows = [chat("word " * 60, "the ärger 😀"), chat("q", "a"), chat("q", "long " * 60), chat("q")]
    wanted = settings_for(write_rows(rows), max_tokens=60)
    shown = preview(wanted, chat_tokenizer, None, base_folder=tmp_path, rows=4)
    trained = prepare(wanted, chat_tokenizer, None, base_folder=tmp_path).train
    for row, example in zip(shown.rows, trained, strict=False):
        assert row.ids == tuple(example.ids.tolist())
        assert row.supervised == tuple(example.supervised.tolist())
        assert row.truncated_tokens == example.truncated_tokens
        assert row.row == example.row
        assert "".join(row.texts) == chat_tokenizer.decode(row.ids)
        assert len(row.ids) == len(row.texts) == len(row.supervised)
    assert [row.is_left_out for row in shown.rows] == [False, False, True, True]
    assert [row.problems for row in shown.rows] == [
        ("truncated_prompt",),
        (),
        ("answer_too_long",),
        ("no_supervised_tokens",),
    ]
    assert not any(shown.rows[2].supervised)
    assert shown.rows[3].ids == ()
    assert len(shown.lengths) == 3
    assert shown.max_tokens == 60


def test_a_broken_row_far_down_does_not_disturb(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([chat(f"q{i}", "a") for i in range(300)])
    with path.open("a") as stream:
        stream.write("broken\n")
    shown = preview(settings_for(path), chat_tokenizer, None, base_folder=tmp_path, rows=2)
    assert [row.row for row in shown.rows] == [1, 2]
    assert len(shown.lengths) == 100


def test_several_files_share_the_rows(
    chat_tokenizer: Any, write_rows: Write, tmp_path: Path
) -> None:
    for name in ("one.jsonl", "two.jsonl"):
        write_rows([chat(f"q{i}", "a") for i in range(9)], name)
    wanted = DataSettings.model_validate(
        {"train": [{"source": "one.jsonl"}, {"source": "two.jsonl"}]}
    )
    shown = preview(wanted, chat_tokenizer, None, base_folder=tmp_path, rows=5)
    assert [row.source for row in shown.rows] == ["one.jsonl"] * 3 + ["two.jsonl"] * 2


def test_problems_that_refuse_a_run_are_shown_not_raised(
    base_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([{"text": "<s><s>twice"}])
    shown = preview(settings_for(path), base_tokenizer, None, base_folder=tmp_path, rows=1)
    assert [(problem.code, problem.refuses) for problem in shown.problems] == [("double_bos", True)]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@pytest.mark.parametrize("kind", ["chat_tokenizer", "base_tokenizer"])
def test_token_texts_join_to_the_text(kind: str, text: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(kind)
    ids = tokenizer(text)["input_ids"]
    texts = token_texts(tokenizer, ids)
    assert len(texts) == len(ids)
    assert "".join(texts) == tokenizer.decode(ids)
