"""How a row of each format becomes a conversation or running text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from studio.engine.data.conversation import Conversation, Record, RunningText, Turn
from studio.engine.data.patterns import fill, is_pattern
from studio.engine.data.sources.text import ENDS
from studio.engine.data.token_rows import read_token_row
from studio.engine.data.turns import (
    RowInvalid,
    check_text,
    kind_name,
    quoted,
    read_messages,
    read_sharegpt,
    read_tools,
)

Columns = Mapping[str, str]
"""Part of the format (such as ``prompt``) to the column of the file that plays it."""


@dataclass(frozen=True)
class Format:
    """One layout of rows.

    ``required`` and ``optional`` are parts; each maps to the column names that play it by
    default.
    """

    key: str
    required: Mapping[str, tuple[str, ...]]
    optional: Mapping[str, tuple[str, ...]]
    read: Callable[[Mapping[str, Any], Columns], Record]
    example: str

    @property
    def parts(self) -> tuple[str, ...]:
        """All parts, the required ones first."""
        return (*self.required, *self.optional)


def _read_messages_row(values: Mapping[str, Any], columns: Columns) -> Record:
    return _conversation(values, columns, read_messages(_get(values, columns["messages"])))


def _read_sharegpt_row(values: Mapping[str, Any], columns: Columns) -> Record:
    return _conversation(values, columns, read_sharegpt(_get(values, columns["messages"])))


def _read_alpaca_row(values: Mapping[str, Any], columns: Columns) -> Record:
    instruction = _text(values, columns["instruction"])
    extra = _optional_text(values, columns.get("input"))
    question = f"{instruction}\n\n{extra}" if extra.strip() else instruction
    answer = Turn("assistant", _text(values, columns["output"]))
    earlier = _history(values.get(columns.get("history", "")))
    return _conversation(values, columns, (*earlier, Turn("user", question), answer))


def _read_prompt_row(values: Mapping[str, Any], columns: Columns) -> Record:
    prompt, answer = _get(values, columns["prompt"]), _get(values, columns["answer"])
    before = read_messages(prompt) if isinstance(prompt, list) else None
    after = read_messages(answer) if isinstance(answer, list) else None
    if before is None:
        before = (Turn("user", check_text(prompt, f"the column {columns['prompt']!r}")),)
    if after is None:
        after = (Turn("assistant", check_text(answer, f"the column {columns['answer']!r}")),)
    return _conversation(values, columns, (*before, *after))


def _read_text_row(values: Mapping[str, Any], columns: Columns) -> Record:
    return RunningText(_text(values, columns["text"]), values.get(ENDS) is not False)


def _read_tokens_row(values: Mapping[str, Any], columns: Columns) -> Record:
    labels = values.get(columns["labels"]) if "labels" in columns else None
    mask = values.get(columns["attention_mask"]) if "attention_mask" in columns else None
    return read_token_row(_get(values, columns["input_ids"]), labels, mask)


def _conversation(
    values: Mapping[str, Any], columns: Columns, turns: tuple[Turn, ...]
) -> Conversation:
    system = _optional_text(values, columns.get("system"))
    if system.strip() and turns[0].role != "system":
        turns = (Turn("system", system), *turns)
    tools = read_tools(values.get(columns["tools"])) if "tools" in columns else ()
    return Conversation(turns, tools)


def _history(value: object) -> tuple[Turn, ...]:
    if not value:
        return ()
    if not isinstance(value, list):
        raise RowInvalid(f"the history is {kind_name(value)}; a list of pairs is expected")
    turns: list[Turn] = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise RowInvalid("the history must be a list of pairs of question and answer")
        turns.append(Turn("user", check_text(pair[0], "the history")))
        turns.append(Turn("assistant", check_text(pair[1], "the history")))
    return tuple(turns)


def _get(values: Mapping[str, Any], column: str) -> object:
    if column not in values:
        if is_pattern(column, values):
            return fill(column, values)
        found = ", ".join(quoted(name) for name in list(values)[:12]) or "none"
        raise RowInvalid(f"the column {quoted(column)} is missing (columns found: {found})")
    return values[column]


def _text(values: Mapping[str, Any], column: str) -> str:
    return check_text(_get(values, column), f"the column {column!r}")


def _optional_text(values: Mapping[str, Any], column: str | None) -> str:
    if column is None:
        return ""
    value = fill(column, values) if is_pattern(column, values) else values.get(column)
    return "" if value is None else check_text(value, f"the column {column!r}")


_SYSTEM = {"system": ("system", "system_prompt")}

FORMATS: dict[str, Format] = {
    "messages": Format(
        "messages",
        {"messages": ("messages", "conversations", "conversation")},
        {"tools": ("tools",), **_SYSTEM},
        _read_messages_row,
        '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
    ),
    "sharegpt": Format(
        "sharegpt",
        {"messages": ("conversations", "conversation", "messages")},
        {"tools": ("tools",), **_SYSTEM},
        _read_sharegpt_row,
        '{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}',
    ),
    "alpaca": Format(
        "alpaca",
        {"instruction": ("instruction",), "output": ("output",)},
        {"input": ("input",), "history": ("history",), **_SYSTEM},
        _read_alpaca_row,
        '{"instruction": "…", "input": "…", "output": "…"}',
    ),
    "prompt": Format(
        "prompt",
        {
            "prompt": ("prompt", "question", "query", "instruction", "input"),
            "answer": ("completion", "response", "answer", "output"),
        },
        {"tools": ("tools",), **_SYSTEM},
        _read_prompt_row,
        '{"prompt": "…", "completion": "…"} or {"question": "…", "answer": "…"}',
    ),
    "text": Format("text", {"text": ("text",)}, {}, _read_text_row, '{"text": "…"}'),
    "tokens": Format(
        "tokens",
        {"input_ids": ("input_ids",)},
        {"labels": ("labels",), "attention_mask": ("attention_mask",)},
        _read_tokens_row,
        '{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}',
    ),
}

PART_NAMES = {"completion": "answer", "response": "answer", "question": "prompt"}
"""Other words people use for a part in ``columns``."""
