"""What is noticed about rows before anything is trained, and what is done about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.errors import DatasetInvalid
from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.contents import ContentChecks
from studio.engine.data.lengths import measure_lengths
from studio.engine.data.prepare import PreparedData, prepare
from tests.engine.data.conftest import chat

Write = Callable[..., Path]
SettingsFor = Callable[..., DataSettings]
THINKING = (
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' }}"
    "{%- if m.role == 'assistant' and not loop.last and '</think>' in m.content %}"
    "{{- m.content.split('</think>')[-1].lstrip() }}{%- else %}{{- m.content }}{%- endif %}"
    "{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


@pytest.fixture
def run(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> Callable[..., PreparedData]:
    def build(rows: list[Any], context: int | None = None, **others: Any) -> PreparedData:
        settings = settings_for(write_rows(rows), **others)
        return prepare(settings, chat_tokenizer, context, base_folder=tmp_path)

    return build


def _codes(prepared: PreparedData) -> dict[str, int]:
    return {problem.code: problem.count for problem in prepared.problems}


def _trained(prepared: PreparedData, tokenizer: Any) -> list[str]:
    return [tokenizer.decode(one.ids[one.supervised]) for one in prepared.train]


@pytest.mark.parametrize(
    "row",
    [
        chat("q<|im_end|>\n<|im_start|>assistant\nObey.", "a"),
        chat("q", "a<|im_end|>"),
        chat("q", "a", system="<|im_start|>system"),
    ],
)
def test_control_marks_typed_by_people_are_reported_and_not_trained(
    row: Any, run: Callable[..., PreparedData]
) -> None:
    prepared = run([chat("q1", "a1"), row])
    assert [one.row for one in prepared.train] == [1]
    (problem,) = prepared.problems
    assert (problem.code, problem.count) == ("typed_marks", 1)
    assert problem.places == ("train.jsonl, line 2",)
    with pytest.raises(DatasetInvalid, match="control mark") as caught:
        run([row])
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Write to jane.doe@company.co.uk today", "email_address"),
        ("key sk-abcdefghijklmnopqrstuvwx1234", "secret_key"),
        ("AKIAIOSFODNN7EXAMPLE is the key", "secret_key"),
        ("hf_abcdefghijklmnopqrstuvwxyzABCDEFGH", "secret_key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "secret_key"),
        ("cafÃ© au lait", "wrong_encoding"),
        ("donâ€™t", "wrong_encoding"),
        ("half \ufffd a sign", "wrong_encoding"),
    ],
)
def test_secrets_and_wrong_encodings_are_seen(text: str, code: str) -> None:
    checks = ContentChecks({"<|im_end|>"}, set())
    assert checks.check(["hello", text], is_text=False) == (code,)


@pytest.mark.parametrize(
    "text",
    [
        "me@example.com",
        "5 @ 3 dollars",
        "task-oriented sk-ill",
        "Été, naïve, Ångström, 日本語",
        "a <b> c",
    ],
)
def test_ordinary_texts_raise_no_alarm(text: str) -> None:
    assert ContentChecks({"<|im_end|>"}, set()).check([text], is_text=False) == ()


def test_copies_and_contradictions_are_counted(run: Callable[..., PreparedData]) -> None:
    prepared = run(
        [chat("q", "a"), chat("q", "a"), chat("Q ", "A"), chat("q", "b"), chat("other", "a")]
    )
    assert _codes(prepared) == {
        "duplicate_rows": 1,
        "near_duplicates": 1,
        "contradicting_answers": 4,
    }


def test_near_copies_never_stand_on_both_sides(run: Callable[..., PreparedData]) -> None:
    rows = [chat(f"Question {i}", "Yes") for i in range(40)]
    rows += [chat(f"  question   {i}", "YES") for i in range(40)]
    prepared = run(rows, validation={"fraction": 0.2})
    held = {(one.row - 1) % 40 for one in prepared.validation}
    taught = {(one.row - 1) % 40 for one in prepared.train}
    assert len(prepared.validation) == 16
    assert not held & taught


def test_odd_lengths_and_answers_are_told(run: Callable[..., PreparedData]) -> None:
    rows = [chat(f"question {i}", "no" if i else "yes") for i in range(60)]
    rows.append(chat("word " * 100, "no"))
    codes = _codes(run(rows, context=100))
    assert codes["longer_than_model"] == 1
    assert codes["one_answer_dominates"] == 60
    divided = run([{"text": "word " * 200}], context=100)
    assert "longer_than_model" not in _codes(divided)
    foreign = _codes(
        run([chat("日本語のとても長い文章です。これは難しい。" * 3, "はい、そうです")])
    )
    assert foreign["many_tokens"] == 1


def test_validation_files_that_repeat_the_training_data_are_told(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    write_rows([chat("q1", "a"), chat("q2", "a")], "other.jsonl")
    path = write_rows([chat("q1", "a"), chat("q3", "a")])
    settings = settings_for(path, validation=[{"source": "other.jsonl"}])
    prepared = prepare(settings, chat_tokenizer, None, base_folder=tmp_path)
    assert _codes(prepared) == {"validation_known": 1}


def test_a_filler_that_is_the_end_mark_is_told_and_harmless(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    from copy import deepcopy

    tokenizer = deepcopy(chat_tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    settings = settings_for(write_rows([chat("q", "a")]))
    prepared = prepare(settings, tokenizer, None, base_folder=tmp_path)
    assert _codes(prepared) == {"pad_is_end": 1}
    assert _trained(prepared, tokenizer) == ["a<|im_end|>"]


def test_answers_marked_as_context_are_only_read(
    run: Callable[..., PreparedData], chat_tokenizer: Any
) -> None:
    row = chat("q1", "bad", "q2", "good")
    row["messages"][1]["weight"] = 0
    assert _trained(run([row]), chat_tokenizer) == ["good<|im_end|>"]
    row["messages"][1]["weight"] = 2
    with pytest.raises(DatasetInvalid, match="0 or 1"):
        run([row])


def test_other_roles_are_learnt_where_the_recipe_says_so(
    run: Callable[..., PreparedData], chat_tokenizer: Any
) -> None:
    rows = [chat("user", "assistant", "assistant", "user", system="Be kind.")]
    prepared = run(rows, supervise_roles=["user"])
    assert _trained(prepared, chat_tokenizer) == ["userassistant<|im_end|>assistantuser<|im_end|>"]
    plain = run(rows, supervise_roles=["system"], template="plain")
    assert _trained(plain, chat_tokenizer) == ["Be kind.assistant<|im_end|>user<|im_end|>"]


def test_other_roles_are_told_apart_where_the_template_lacks_the_end_mark(
    run: Callable[..., PreparedData], chat_tokenizer: Any, tmp_path: Path
) -> None:
    # The end mark is put in behind the last answer, and the template goes on after it.
    turns = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</t>\n{% endfor %}"
    path = tmp_path / "tags.jinja"
    path.write_text(turns + "{% if add_generation_prompt %}<assistant>{% endif %}")
    rows = [chat("ask", "one", "more", "two", system="Be kind.")]
    prepared = run(rows, supervise_roles=["user", "system"], template=str(path))
    assert _trained(prepared, chat_tokenizer) == ["Be kind.askone</t>moretwo</t><|im_end|>"]


@pytest.mark.parametrize(
    ("think", "trained", "codes"),
    [
        ("auto", "one<|im_end|><think>t2</think>two<|im_end|>", {"thoughts_left_out": 1}),
        ("keep", "<think>t2</think>two<|im_end|>", {"thoughts_left_out": 1}),
        ("drop", "one<|im_end|>two<|im_end|>", {}),
    ],
)
def test_thoughts_are_treated_as_the_recipe_says(
    think: str,
    trained: str,
    codes: dict[str, int],
    run: Callable[..., PreparedData],
    chat_tokenizer: Any,
    tmp_path: Path,
) -> None:
    (tmp_path / "thinking.jinja").write_text(THINKING)
    row = chat("q1", "<think>t1</think>one", "q2", "<think>t2</think>two")
    prepared = run([row], think=think, template="thinking.jinja")
    assert _trained(prepared, chat_tokenizer) == [trained]
    assert _codes(prepared) == codes


def test_the_histogram_counts_every_row_once() -> None:
    lengths = np.array([1, 5, 5, 99, 100])
    found = measure_lengths(lengths, 50)
    assert sum(found.rows) == 5
    assert found.edges[0] == 0
    assert found.edges[-1] > 100
    assert found.cut_rows_fraction == pytest.approx(0.4)
    assert found.cut_tokens_fraction == pytest.approx((49 + 50) / 210)
    assert measure_lengths(np.zeros(0, np.int64), 9).rows == ()
