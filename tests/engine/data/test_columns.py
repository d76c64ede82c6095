"""Finding the format by looking at rows, and refusing to guess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import DatasetInvalid, NotAvailableYet, RecipeInvalid
from studio.engine.data.columns import find_layout
from studio.engine.data.conversation import Conversation, Record, RunningText
from studio.engine.data.digest import digest_row
from studio.engine.data.sources.row import Row

TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SPOKEN = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
QA = Conversation


def _rows(*values: dict[str, Any]) -> list[Row]:
    return [Row(value, Path("train.jsonl"), i, i) for i, value in enumerate(values, start=1)]


def _read(
    *values: dict[str, Any], key: str = "auto", columns: dict[str, str] | None = None
) -> Record:
    rows = _rows(*values)
    return find_layout(rows, key, columns or {}).read(rows[-1])


def _said(record: Record) -> list[tuple[str, str | None]]:
    assert isinstance(record, Conversation)
    return [(turn.role, turn.content) for turn in record.turns]


ANSWERED = [("user", "q"), ("assistant", "a")]


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({"messages": TURNS}, "messages"),
        ({"chat": TURNS, "id": 3}, "messages"),
        ({"conversations": TURNS}, "messages"),
        ({"conversations": SPOKEN, "id": "x"}, "sharegpt"),
        ({"instruction": "q", "input": "", "output": "a"}, "alpaca"),
        ({"instruction": "q", "output": "a"}, "alpaca"),
        ({"prompt": "q", "completion": "a"}, "prompt"),
        ({"prompt": "q", "response": "a", "score": 3}, "prompt"),
        ({"question": "q", "answer": "a"}, "prompt"),
        ({"instruction": "q", "response": "a"}, "prompt"),
        ({"prompt": TURNS[:1], "completion": TURNS[1:]}, "prompt"),
    ],
)
def test_known_formats_are_recognised(row: dict[str, Any], key: str) -> None:
    layout = find_layout(_rows(row), "auto", {})
    assert layout.format.key == key
    assert _said(layout.read(_rows(row)[0])) == ANSWERED


@pytest.mark.parametrize("row", [{"text": "t"}, {"text": "t", "id": 1}, {"body": "t"}])
def test_running_text_is_recognised(row: dict[str, Any]) -> None:
    assert _read(row) == RunningText("t")


def test_the_input_of_an_instruction_follows_it() -> None:
    record = _read({"instruction": "Translate.", "input": "Haus", "output": "house"})
    assert _said(record) == [("user", "Translate.\n\nHaus"), ("assistant", "house")]


def test_a_history_of_pairs_comes_before_the_instruction() -> None:
    row = {"instruction": "q2", "output": "a2", "history": [["q1", "a1"]]}
    assert [said for _, said in _said(_read(row))] == ["q1", "a1", "q2", "a2"]
    for bad in ("q1", [["q1"]]):
        with pytest.raises(DatasetInvalid, match="history"):
            _read({**row, "history": bad})


def test_a_system_column_comes_first() -> None:
    record = _read({"system": "Be brief.", "prompt": "q", "completion": "a"})
    assert _said(record) == [("system", "Be brief."), *ANSWERED]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "question": "q", "answer": "a"},
        {"instruction": "q", "context": "c", "response": "a"},
        {"context": "c", "question": "q", "answer": "a"},
        {"text": "t", "label": 1},
        {"title": "x", "text": "t"},
        {"text": "t", "category": "c"},
        {"a": "x", "b": "y"},
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"instruction": "q", "output": "a", "chosen": "a", "rejected": "b"},
        {"prompt": "q", "completion": 3},
        {"messages": [{"speaker": "x", "line": "y"}]},
        {"textual_context": "x", "contextual_text": "y"},
    ],
)
def test_an_unclear_format_is_asked_about_not_guessed(row: dict[str, Any]) -> None:
    with pytest.raises(DatasetInvalid) as caught:
        find_layout(_rows(row), "auto", {})
    assert all(repr(name) in str(caught.value) for name in list(row)[:1])
    assert "data.columns" in caught.value.remedy


def test_two_lists_of_turns_are_asked_about() -> None:
    with pytest.raises(DatasetInvalid, match="several ways"):
        find_layout(_rows({"short": TURNS, "long": TURNS}), "auto", {})


def test_stated_columns_win() -> None:
    row = {"a": "q", "b": "a", "prompt": "no", "completion": "no"}
    assert _said(_read(row, columns={"prompt": "a", "answer": "b"})) == ANSWERED
    assert _said(_read(row, columns={"question": "a", "response": "b"})) == ANSWERED
    assert _said(_read(row, key="prompt", columns={"prompt": "a", "answer": "b"})) == ANSWERED
    assert _read(row, columns={"text": "b"}) == RunningText("a")
    stated = _read({**row, "c": "x"}, columns={"instruction": "a", "input": "c", "output": "b"})
    assert _said(stated)[0] == ("user", "q\n\nx")


def test_stated_formats_and_columns_are_checked() -> None:
    with pytest.raises(DatasetInvalid, match=r"no column for answer.*Columns found: 'prompt', 'x'"):
        _read({"prompt": "q", "x": "a"}, key="prompt")
    with pytest.raises(RecipeInvalid, match="does not have"):
        _read({"text": "t"}, key="text", columns={"prompt": "text"})
    with pytest.raises(RecipeInvalid, match="no format consists"):
        _read({"text": "t"}, columns={"head": "text"})
    with pytest.raises(DatasetInvalid, match="no column for prompt"):
        _read({"text": "t"}, columns={"prompt": "nowhere", "answer": "text"})
    with pytest.raises(NotAvailableYet):
        _read({"text": "t"}, key="preference")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"prompt": "q"}, "the column 'completion' is missing"),
        ({"prompt": "q", "completion": 3}, "'completion' holds a number; text is expected"),
        ({"prompt": "q", "completion": None}, "nothing"),
        ({"prompt": "q\ud800", "completion": "a"}, "lone surrogate"),
    ],
)
def test_a_row_of_another_layout_is_named(bad: dict[str, Any], said: str) -> None:
    good = _rows({"prompt": "q", "completion": "a"})
    layout = find_layout(good, "auto", {})
    with pytest.raises(DatasetInvalid, match=r"train\.jsonl, line 17") as caught:
        layout.read(Row(bad, Path("train.jsonl"), 17, 17))
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([], "no turns"),
        ([{"role": "user"}], "no content"),
        ([{"content": "x"}], "no role"),
        ([{"role": "wizard", "content": "x"}], "unknown role 'wizard'"),
        ([{"role": "user", "content": 3}], "holds a number"),
        ([{"role": "user", "content": [{"type": "image"}]}], "something else than text"),
        ("text", "a list of turns is expected"),
        ([3], "turn 1 is a number"),
        ([{"role": "assistant", "content": None, "tool_calls": [{}]}], "no name"),
        ([{"role": "assistant", "content": None, "tool_calls": "x"}], "a list of objects"),
    ],
)
def test_broken_turns_are_named(turns: Any, said: str) -> None:
    with pytest.raises(DatasetInvalid) as caught:
        _read({"messages": turns}, key="messages")
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("tools", "said"),
    [("[", "not valid JSON"), (3, "a list of objects"), ([3], "a list of objects")],
)
def test_broken_tools_are_named(tools: Any, said: str) -> None:
    with pytest.raises(DatasetInvalid) as caught:
        _read({"messages": TURNS, "tools": tools})
    assert said in caught.value.message


@pytest.mark.parametrize("tools", [None, "", " ", []])
def test_missing_tools_are_none(tools: Any) -> None:
    record = _read({"messages": TURNS, "tools": tools})
    assert isinstance(record, Conversation)
    assert record.tools == ()


def test_a_call_that_is_no_json_stays_text() -> None:
    spoken = [*SPOKEN, {"from": "function_call", "value": "add(1)"}]
    assert _said(_read({"conversations": spoken}))[-1] == ("assistant", "add(1)")


def test_text_blocks_are_joined_and_developers_are_systems() -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    row = {"messages": [{"role": "developer", "content": "s"}, {"role": "user", "content": blocks}]}
    assert _said(_read(row)) == [("system", "s"), ("user", "ab")]


def test_tool_calls_of_both_chat_formats_become_the_same() -> None:
    call = {"name": "add", "arguments": {"a": 1}}
    spoken = [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
        {"from": "observation", "value": "2"},
        {"from": "gpt", "value": "a"},
    ]
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "tool_calls": [{"function": {**call, "arguments": '{"a": 1}'}}]},
        {"role": "tool", "content": "2"},
        {"role": "assistant", "content": "a"},
    ]
    tools = '[{"name": "add", "parameters": {}}]'
    first = _read({"conversations": spoken, "tools": tools})
    second = _read(
        {
            "messages": turns,
            "tools": [{"type": "function", "function": {"name": "add", "parameters": {}}}],
        }
    )
    assert first == second
    assert digest_row(first) == digest_row(second)


def test_equal_contents_have_equal_digests_and_others_not() -> None:
    one, two = _read({"prompt": "q", "completion": "a"}), _read({"question": "q", "answer": "a"})
    assert digest_row(one) == digest_row(two)
    assert digest_row(one) != digest_row(_read({"prompt": "q", "completion": "b"}))
