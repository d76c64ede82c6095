"""What a file seems to be, how sure that is, and what is asked where nobody can know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from studio.core.recipe.schema_data import DataSource
from studio.engine.data.contents import ContentChecks
from studio.engine.data.examine import Examined, examine
from studio.engine.data.ways import LABELLED, PREFERENCE

PAIR = {"chosen": "yes", "rejected": "no"}
CALL = {"name": "look", "arguments": {"where": "here"}}
TOOL_TURNS = [
    {"role": "user", "content": "Look!"},
    {"role": "assistant", "content": None, "tool_calls": [{"function": CALL}]},
    {"role": "tool", "content": "nothing"},
    {"role": "assistant", "content": "Nothing there."},
]


def look(tmp_path: Path, rows: Sequence[dict[str, Any]], **source: Any) -> Examined:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return examine(DataSource(source=str(path), **source), tmp_path)


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({"instruction": "a", "input": "b", "output": "c"}, "alpaca"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "sharegpt"),
        ({"messages": TOOL_TURNS, "tools": "[]"}, "messages"),
        ({"prompt": "a", "completion": "b"}, "prompt"),
        ({"question": "a", "answer": "b"}, "prompt"),
        ({"text": "a"}, "text"),
        ({"input_ids": [1, 2]}, "tokens"),
    ],
)
def test_usual_formats_are_sure(tmp_path: Path, row: dict[str, Any], key: str) -> None:
    found = look(tmp_path, [row])
    assert found.layout is not None
    assert (found.certainty, found.layout.format.key) == ("sure", key)


@pytest.mark.parametrize(
    ("row", "key", "columns"),
    [
        ({"prompt": "q", **PAIR}, "prompt", {"prompt": "prompt", "answer": "chosen"}),
        (
            {"instruction": "q", "input": "", **PAIR},
            "alpaca",
            {"instruction": "instruction", "input": "input", "output": "chosen"},
        ),
        (
            {"chosen": TOOL_TURNS[:1], "rejected": TOOL_TURNS[:1]},
            "messages",
            {"messages": "chosen"},
        ),
        (
            {"prompt": TOOL_TURNS[:1], "chosen": TOOL_TURNS[3:], "rejected": TOOL_TURNS[3:]},
            "prompt",
            {"prompt": "prompt", "answer": "chosen"},
        ),
        (PAIR, "text", {"text": "chosen"}),
    ],
)
def test_preference_pairs_are_asked_about_and_can_be_learnt_from(
    tmp_path: Path, row: dict[str, Any], key: str, columns: dict[str, str]
) -> None:
    found = look(tmp_path, [row])
    assert (found.certainty, found.seems, found.layout) == ("unsure", PREFERENCE, None)
    way = found.options[0]
    assert (way.format, dict(way.columns)) == (key, columns)
    taken = look(tmp_path, [row], format=way.format, columns=dict(way.columns))
    assert taken.certainty == "stated"
    assert taken.layout is not None
    taken.layout.read(taken.rows[0])


@pytest.mark.parametrize(
    ("label", "column", "answer"),
    [("card_lost", "category", "category"), (7, "label", "{label}")],
)
def test_texts_with_classes_are_asked_about(
    tmp_path: Path, label: object, column: str, answer: str
) -> None:
    row = {"text": "Where is my card?", column: label}
    found = look(tmp_path, [row])
    assert (found.certainty, found.seems) == ("unsure", LABELLED)
    way = found.options[0]
    assert dict(way.columns) == {"prompt": "text", "answer": answer}
    assert found.error is not None
    assert ("numbers" in found.error.remedy) == isinstance(label, int)
    taken = look(tmp_path, [row], format=way.format, columns=dict(way.columns))
    assert taken.layout is not None
    assert str(label) in str(taken.layout.read(taken.rows[0]))


def test_other_columns_are_asked_about_by_name(tmp_path: Path) -> None:
    found = look(tmp_path, [{"de": "hallo", "en": "hello"}])
    assert (found.certainty, found.seems) == ("unsure", "")
    assert dict(found.options[0].columns) == {"prompt": "de", "answer": "en"}


def test_a_list_of_names_may_be_a_text_per_line(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"name{n}\n" for n in range(80)))
    found = examine(DataSource(source=str(names)), tmp_path)
    assert found.certainty == "likely"
    assert [way.documents for way in found.options] == ["line", "file"]
    for way, rows in zip(found.options, (80, 1), strict=True):
        source = DataSource.model_validate(
            {"source": str(names), "format": "text", "documents": way.documents}
        )
        taken = examine(source, tmp_path)
        assert (taken.certainty, len(taken.rows)) == ("stated", rows)
    story = tmp_path / "story.txt"
    story.write_text(("A long line of a story that goes on and on until it ends here. " * 2) * 60)
    assert examine(DataSource(source=str(story)), tmp_path).certainty == "sure"


def test_places_left_open_are_noticed() -> None:
    checks = ContentChecks((), ())
    assert checks.check(["I am {{name}}."], is_text=False) == ("unfilled_places",)
    for text in ("{name}", "{{ 1 + 2 }}", "f({{}})", "{{% if x %}}", "\\frac{{a}"):
        assert checks.check([text], is_text=False) == ()
