"""From a recipe's data settings to examples: split, limits, problems, refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from studio.core.errors import (
    DatasetInvalid,
    FileUnusable,
    ModelUnusable,
    RecipeInvalid,
)
from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.prepare import PreparedData, choose_max_tokens, iter_prepare, prepare
from studio.engine.data.tokenize import BATCH_ROWS
from tests.engine.data.conftest import chat

Write = Callable[..., Path]
SettingsFor = Callable[..., DataSettings]


def _trained(prepared: PreparedData, tokenizer: Any) -> list[str]:
    return [tokenizer.decode(one.ids[one.supervised]) for one in prepared.train]


def _codes(prepared: PreparedData) -> dict[str, int]:
    return {problem.code: problem.count for problem in prepared.problems}


def test_answers_are_trained_and_nothing_else(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([chat("q1", "a1", "q2", "a2", system="s"), chat("q3", "a3")])
    prepared = prepare(settings_for(path), chat_tokenizer, None, base_folder=tmp_path)
    assert _trained(prepared, chat_tokenizer) == ["a1<|im_end|>a2<|im_end|>", "a3<|im_end|>"]
    assert prepared.end_of_turn_ids == (chat_tokenizer.eos_token_id,)
    assert prepared.findings[0].format == "messages"
    assert prepared.problems == ()
    assert [one.row for one in prepared.train] == [1, 2]


@pytest.mark.parametrize(
    ("supervise", "trained"),
    [
        ("responses", "a1<|im_end|>a2<|im_end|>"),
        ("last_response", "a2<|im_end|>"),
        (
            "everything",
            "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\na1<|im_end|>\n"
            "<|im_start|>user\nq2<|im_end|>\n<|im_start|>assistant\na2<|im_end|>\n",
        ),
    ],
)
def test_what_is_supervised_is_a_choice(
    supervise: str,
    trained: str,
    chat_tokenizer: Any,
    write_rows: Write,
    settings_for: SettingsFor,
    tmp_path: Path,
) -> None:
    settings = settings_for(write_rows([chat("q1", "a1", "q2", "a2")]), supervise=supervise)
    prepared = prepare(settings, chat_tokenizer, None, base_folder=tmp_path)
    assert _trained(prepared, chat_tokenizer) == [trained]


def test_base_models_learn_plain_text_with_one_bos_and_an_end(
    base_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([{"prompt": "Who are you?", "completion": "I am a pirate"}])
    prepared = prepare(settings_for(path), base_tokenizer, None, base_folder=tmp_path)
    assert base_tokenizer.decode(prepared.train[0].ids) == "<s> Who are you?\nI am a pirate</s>"
    assert _trained(prepared, base_tokenizer) == ["I am a pirate</s>"]
    assert _codes(prepared) == {"no_chat_template": 1}


def test_running_text_is_trained_whole_and_divided_when_long(
    base_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([{"text": "Where is the treasure? " * 20}, {"text": "short</s>"}])
    settings = settings_for(path, max_tokens=30)
    prepared = prepare(settings, base_tokenizer, None, base_folder=tmp_path)
    assert prepared.train.lengths.max() <= 30
    joined = np.concatenate([one.ids for one in prepared.train if one.row == 1])
    assert joined.tolist() == [
        *base_tokenizer("Where is the treasure? " * 20)["input_ids"],
        base_tokenizer.eos_token_id,
    ]
    assert prepared.train[-1].ids.tolist().count(base_tokenizer.eos_token_id) == 1
    assert prepared.train[-1].supervised.tolist() == [False] + [True] * (
        len(prepared.train[-1]) - 1
    )
    assert _codes(prepared) == {"text_divided": 1}


def test_rows_are_held_back_for_validation(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    rows = [chat(f"q{i % 40}", f"a{i % 40}") for i in range(80)]
    settings = settings_for(write_rows(rows), validation={"fraction": 0.1})
    prepared = prepare(settings, chat_tokenizer, None, base_folder=tmp_path)
    assert (len(prepared.train), len(prepared.validation)) == (72, 8)
    train = {one.ids.tobytes() for one in prepared.train}
    assert not train & {one.ids.tobytes() for one in prepared.validation}


def test_validation_files_and_weights_of_several_sources(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    write_rows([chat("q", "a")] * 3, "one.jsonl")
    write_rows([{"question": "q", "answer": "a"}] * 5, "two.jsonl")
    settings = DataSettings.model_validate(
        {
            "train": [{"source": "one.jsonl"}, {"source": "two.jsonl", "weight": 2, "limit": 4}],
            "validation": [{"source": "two.jsonl"}],
        }
    )
    prepared = prepare(settings, chat_tokenizer, None, base_folder=tmp_path)
    assert (len(prepared.train), len(prepared.validation)) == (7, 5)
    assert prepared.train_weights == (1.0, 2.0)
    assert prepared.train.sources == ("one.jsonl", "two.jsonl")
    assert [finding.rows for finding in prepared.findings] == [3, 4, 5]


def test_progress_is_reported_while_rows_are_read(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([chat(f"q{i}", "a") for i in range(2 * BATCH_ROWS + 100)])
    counts = list(iter_prepare(settings_for(path), chat_tokenizer, None, base_folder=tmp_path))
    assert counts == [BATCH_ROWS, 2 * BATCH_ROWS, 2 * BATCH_ROWS + 100]


def test_long_rows_lose_their_beginning_and_never_the_answer(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    rows = [chat("word " * 60, "the answer", system="Be kind."), chat("which?", "long " * 60)]
    settings = settings_for(write_rows([*rows, chat("q", "a")]), max_tokens=48)
    prepared = prepare(settings, chat_tokenizer, None, base_folder=tmp_path)
    assert _codes(prepared) == {"truncated_prompt": 1, "answer_too_long": 1}
    first = prepared.train[0]
    assert len(first) == 48
    assert first.truncated_tokens == prepared.lengths[0] - 48
    text = chat_tokenizer.decode(first.ids)
    assert text.startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n")
    assert text.endswith("<|im_start|>assistant\nthe answer<|im_end|>\n")
    assert [one.row for one in prepared.train] == [1, 3]


def test_the_limit_is_the_percentile_capped_by_the_model() -> None:
    lengths = np.arange(1, 1001)
    assert choose_max_tokens("auto", lengths, None) == pytest.approx(990, abs=1)
    assert (lengths <= choose_max_tokens("auto", lengths, None)).mean() >= 0.99
    assert choose_max_tokens("auto", lengths, 512) == 512
    assert choose_max_tokens(77, lengths, 512) == 77
    assert choose_max_tokens("auto", np.zeros(0, dtype=np.int64), None) == 1


def test_rows_that_teach_nothing_are_left_out_and_counted(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    rows = [
        chat("q", "a"),
        chat("only a question"),
        chat("q", "  "),
        chat("q", "a", "and then?"),
    ]
    prepared = prepare(settings_for(write_rows(rows)), chat_tokenizer, None, base_folder=tmp_path)
    assert len(prepared.train) == 2
    assert _codes(prepared) == {
        "no_supervised_tokens": 1,
        "empty_answer": 1,
        "trailing_turns_ignored": 1,
    }
    left_out = next(one for one in prepared.problems if one.code == "empty_answer")
    assert left_out.places == ("train.jsonl, line 3",)
    assert left_out.remedy


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([chat("only a question")] * 3, "no_supervised_tokens"),
        ([chat("q", "")] * 2, "empty_answer"),
        ([chat("q", "long " * 60)], "answer_too_long"),
    ],
)
def test_a_run_that_would_learn_nothing_refuses(
    rows: list[Any],
    code: str,
    chat_tokenizer: Any,
    write_rows: Write,
    settings_for: SettingsFor,
    tmp_path: Path,
) -> None:
    settings = settings_for(write_rows(rows), max_tokens=40)
    with pytest.raises(DatasetInvalid) as caught:
        prepare(settings, chat_tokenizer, None, base_folder=tmp_path)
    assert caught.value.code == code
    assert "train.jsonl, line 1" in caught.value.message


def test_different_reasons_for_nothing_to_learn_refuse_as_well(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([chat("only a question"), chat("q", "")])
    with pytest.raises(DatasetInvalid, match="nothing to learn from"):
        prepare(settings_for(path), chat_tokenizer, None, base_folder=tmp_path)


def test_rows_that_all_say_the_same_leave_nothing_for_validation(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    settings = settings_for(write_rows([chat("q", "a")] * 9), validation={"fraction": 0.2})
    prepared = prepare(settings, chat_tokenizer, None, base_folder=tmp_path)
    assert (len(prepared.train), len(prepared.validation)) == (9, 0)
    assert _codes(prepared) == {"no_validation_rows": 1, "duplicate_rows": 8}


def test_a_double_bos_refuses(
    base_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([{"text": "once upon a time"}, {"text": "<s><s>twice"}])
    with pytest.raises(DatasetInvalid) as caught:
        prepare(settings_for(path), base_tokenizer, None, base_folder=tmp_path)
    assert caught.value.code == "double_bos"
    single = settings_for(write_rows([{"text": "<s>once"}]))
    prepared = prepare(single, base_tokenizer, None, base_folder=tmp_path)
    assert prepared.train[0].ids.tolist().count(base_tokenizer.bos_token_id) == 1


def test_an_answer_without_an_end_refuses(
    base_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    from copy import deepcopy

    tokenizer = deepcopy(base_tokenizer)
    tokenizer.eos_token = None
    path = write_rows([{"prompt": "q", "completion": "a"}])
    with pytest.raises(DatasetInvalid) as caught:
        prepare(settings_for(path), tokenizer, None, base_folder=tmp_path)
    assert caught.value.code == "end_of_turn_unsupervised"


def test_the_words_of_a_refusing_template_are_passed_on(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    (tmp_path / "strict.jinja").write_text("{{- raise_exception('roles must alternate') }}")
    settings = settings_for(write_rows([chat("q", "a")]), template="strict.jinja")
    with pytest.raises(DatasetInvalid, match="roles must alternate"):
        prepare(settings, chat_tokenizer, None, base_folder=tmp_path)


def test_bad_settings_are_refused(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    path = write_rows([chat("q", "a")])
    cases: list[tuple[DataSettings, type[Exception], str]] = [
        (settings_for("none.jsonl"), FileUnusable, "does not exist"),
        (settings_for("org/dataset"), FileUnusable, "not on this machine"),
        (settings_for(path, {"split": "test"}), DatasetInvalid, "no part named 'test'"),
        (settings_for(path, max_tokens=9000), RecipeInvalid, "can read only 512"),
        (settings_for(path, {"columns": {"prompt": "x"}}), RecipeInvalid, "no format"),
    ]
    for settings, kind, said in cases:
        with pytest.raises(kind, match=said):
            prepare(settings, chat_tokenizer, 512, base_folder=tmp_path)


def test_a_slow_tokenizer_is_refused(
    write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    slow = SimpleNamespace(is_fast=False, chat_template=None, eos_token=None)
    with pytest.raises(ModelUnusable, match="fast"):
        prepare(settings_for(write_rows([chat("q", "a")])), slow, None, base_folder=tmp_path)


def test_json_is_prepared_without_importing_datasets() -> None:
    code = (
        "import sys, studio.engine.data.prepare, studio.engine.data.preview, "
        "studio.engine.data.loader; sys.exit('datasets' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_preparing_twice_gives_the_same(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    rows = [chat(f"question {i}", f"answer {i}") for i in range(30)]
    settings = settings_for(write_rows(rows), validation={"fraction": 0.2})
    one, two = (prepare(settings, chat_tokenizer, None, base_folder=tmp_path) for _ in range(2))
    assert [e.ids.tolist() for e in one.train] == [e.ids.tolist() for e in two.train]
    assert json.dumps([p.message for p in one.problems]) == json.dumps(
        [p.message for p in two.problems]
    )
