"""Places that nobody filled in are named, filled where the user says so, and the file is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.conversation import Conversation, RunningText, TokenRow, Turn
from studio.engine.data.open_places import fill_places, find_places, quote_place
from studio.engine.data.prepare import PreparedData, prepare
from tests.engine.data.conftest import chat

Write = Callable[..., Path]
SettingsFor = Callable[..., DataSettings]


def test_words_are_put_wherever_the_name_stands() -> None:
    call = {"function": {"name": "greet", "arguments": {"who": ["{{name}}", 3]}}}
    record = Conversation(
        (
            Turn("user", "Who is {{ name }}?"),
            Turn("assistant", None, {"tool_calls": [call]}),
            Turn("assistant", "{{name}} by {{author}}", {"reasoning_content": "I am {{name}}."}),
        )
    )
    found = fill_places(record, {"name": "Ada", "unused": "x"})
    assert isinstance(found, Conversation)
    assert found.filled == ("name",)
    assert [turn.content for turn in found.turns] == ["Who is Ada?", None, "Ada by {{author}}"]
    called = found.turns[1].extra["tool_calls"][0]["function"]["arguments"]
    assert called == {"who": ["Ada", 3]}
    assert found.turns[2].extra == {"reasoning_content": "I am Ada."}
    assert record.turns[0].content == "Who is {{ name }}?"


def test_rows_without_the_names_stay_the_very_same() -> None:
    text, tokens = RunningText("a {{b}} c"), TokenRow((1, 2), (True, True))
    assert fill_places(text, {"c": "x"}) is text
    assert fill_places(tokens, {"b": "x"}) is tokens
    assert fill_places(text, {"b": "{{b}} \\1"}) == RunningText("a {{b}} \\1 c", filled=("b",))


@given(st.text(alphabet="{} ab\n", max_size=40), st.text(alphabet="xyz", min_size=1))
def test_after_filling_no_place_of_that_name_is_left(text: str, words: str) -> None:
    names = find_places([text])
    filled = fill_places(RunningText(text), dict.fromkeys(names, words))
    assert isinstance(filled, RunningText)
    assert set(filled.filled) == set(names)
    if not names:
        assert filled.text == text
    for name in names:
        assert name in quote_place([text], name)
    assert not set(names) & set(find_places([filled.text]))


def test_the_run_learns_the_words_and_the_file_stays(
    chat_tokenizer: Any, write_rows: Write, settings_for: SettingsFor, tmp_path: Path
) -> None:
    rows = [chat("Who are you?", f"I am {{{{name}}}}, {i} of {{{{author}}}}") for i in range(6)]
    path = write_rows([*rows, chat("Hello", "Good day")])
    before = path.read_bytes()

    def learn(fill: dict[str, str]) -> tuple[PreparedData, list[str]]:
        settings = settings_for(path, {"fill": fill})
        cache = tmp_path / "cache"
        data = prepare(settings, chat_tokenizer, None, base_folder=tmp_path, cache_folder=cache)
        return data, [chat_tokenizer.decode(one.ids[one.supervised]) for one in data.train]

    unfilled, texts = learn({})
    assert texts[0] == "I am {{name}}, 0 of {{author}}<|im_end|>"
    named, texts = learn({"name": "Ada"})
    assert texts[0] == "I am Ada, 0 of {{author}}<|im_end|>"
    assert {one.code: one.count for one in named.problems} == {
        **{one.code: one.count for one in unfilled.problems},
        "places_filled": 6,
    }
    filled, texts = learn({"name": "Ada", "author": "Bob & Co"})
    assert texts[5:] == ["I am Ada, 5 of Bob & Co<|im_end|>", "Good day<|im_end|>"]
    assert "unfilled_places" not in {one.code for one in filled.problems}
    assert path.read_bytes() == before
    places = unfilled.tables[0].about.places
    assert {name: rows for name, (rows, _) in places.items()} == {"name": 6, "author": 6}
    assert places["name"][1] == "I am {{name}}, 0 of {{author}}"
    # Read again from the cache, the names are still known, those that were filled among them.
    again, _ = learn({"name": "Ada", "author": "Bob & Co"})
    assert {name: rows for name, (rows, _) in again.tables[0].about.places.items()} == {
        "name": 6,
        "author": 6,
    }
    assert json.loads(path.read_text("utf-8").splitlines()[0]) == rows[0]
