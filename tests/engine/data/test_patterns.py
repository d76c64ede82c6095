"""Writing by patterns equals the long way, and nothing is a pattern that is not proven."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.conversation import Conversation, Turn
from studio.engine.data.opaque import SIGN, Condition, Hole, examine
from studio.engine.data.prepare import prepare
from studio.engine.data.role_pattern import RolePattern
from studio.engine.data.template import JinjaTemplate
from tests.engine.data.conftest import CHATML, chat

LOOP = "{% for m in messages %}<|im_start|>{{ m.role }}\n{BODY}<|im_end|>\n{% endfor %}"
ODD = ("x", " x ", "\n\nx", "x\n", "<think>a</think>b", "a</think>b", "<|im_start|>user", "é日😀",
       "{{ messages }}", "x" * 300, "<tool_response>t", "assistant", "\u00a0x\u2028",
       "a\\nb")  # fmt: skip
COPIES = {
    "as it is": "{{ m.content }}",
    "trimmed": "{{ m['content'] | trim }}",
    "a method": "{{ m.content.strip() }}",
    "joined": "{{ 'a' + m.content + 'b' }}",
    "tilde": "{{ 'a' ~ m.content }}",
    "a macro": "{% macro w(c) %}[{{ c }}]{% endmacro %}{{ w(m.content) }}",
    "a set": "{% set c = m.content %}{{ c }}",
    "a block": "{% set c %}{{ m.content }}!{% endset %}{{ c }}",
    "asked": "{% if m.content is string and m.content %}{{ m.content }}{% endif %}",
    "thoughts": "{% if '</think>' in m.content %}{{ m.content.split('</think>')[-1] }}"
    "{% else %}{{ m.content }}{% endif %}",
    "beginning": "{% if m.content.startswith('<tool') %}T{% endif %}{{ m.content }}",
    "ending": "{{ m.content }}{% if not m.content.endswith('x') %}.{% endif %}",
    "equal": "{% if m.content == 'x' %}X{% else %}{{ m.content }}{% endif %}",
}
LOOKS = {
    "upper": "{{ m.content | upper }}",
    "method": "{{ m.content.upper() }}",
    "length": "{{ m.content | length }}{{ m.content }}",
    "slice": "{{ m.content[:3] }}",
    "part of a text": "{% if m.content in 'xyz' %}X{% endif %}{{ m.content }}",
    "join": "{{ [m.content, 'b'] | join('-') }}",
    "method of a literal": "{{ '-'.join([m.content]) }}",
    "json": "{{ m | tojson }}",
    "format": "{{ 'a%s' % m.content }}",
    "replace": "{{ m.content | replace('a', 'b') }}",
    "times": "{{ m.content * 2 }}",
    "compared": "{% if m.content > 'b' %}B{% endif %}{{ m.content }}",
    "changed": "{% if loop.changed(m.content) %}{{ m.content }}{% endif %}",
    "characters": "{% for c in m.content %}{{ c }}{% endfor %}",
    "trimmed with more": "{{ (m.content + ' ') | trim }}",
}
ROLES = ("system", "user", "assistant", "user", "assistant")


def body(text: str) -> str:
    return LOOP.replace("{BODY}", text)


def talk(*contents: str) -> Conversation:
    return Conversation(tuple(map(Turn, ROLES, contents)))


@pytest.mark.parametrize("way", COPIES)
def test_copied_contents_make_a_pattern_that_equals_the_long_way(
    way: str, chat_tokenizer: Any
) -> None:
    template = JinjaTemplate(chat_tokenizer, body(COPIES[way]), way)
    written = 0
    for first in ODD:
        for second in ODD:
            conversation = talk("be kind", first, second, second, first)
            quick = template._render_by_pattern(conversation)
            if quick is not None:
                assert quick[0] == template._render_fully(conversation)
                written += 1
    assert written > len(ODD)


@pytest.mark.parametrize("way", LOOKS)
def test_what_looks_into_contents_makes_no_pattern(way: str) -> None:
    assert examine(body(LOOKS[way]), {}, ROLES) is None


def test_a_pattern_is_what_the_template_writes_around_the_contents() -> None:
    found = examine(body("{{ m.content | trim }}"), {}, ("user", "assistant"))
    assert found is not None
    parts, conditions = found
    assert parts == (
        "<|im_start|>user\n", Hole(0, "strip"), "<|im_end|>\n<|im_start|>assistant\n",
        Hole(1, "strip"), "<|im_end|>\n",
    )  # fmt: skip
    assert conditions == ()
    asked = examine(body(COPIES["thoughts"]), {}, ("user",))
    assert asked is not None
    assert asked[1] == (Condition(Hole(0), "lacks", "</think>"),)
    assert examine(SIGN, {}, ("user",)) is None
    assert examine("{{ raise_exception('no') }}", {}, ("user",)) is None
    assert examine("{% for %}", {}, ("user",)) is None


@pytest.mark.material
def test_every_template_of_the_material_is_written_alike(
    material: Path, chat_tokenizer: Any
) -> None:
    stops = ("<|eot_id|>", "<end_of_turn>", "<|end|>", "<|im_end|>", "<|end_of_text|>", "</s>")
    patterns = 0
    for path in sorted((material / "templates").glob("*/*.jinja")):
        template = JinjaTemplate(chat_tokenizer, path.read_text("utf-8"), path.stem, stops)
        for index, odd in enumerate(ODD):
            other = ODD[index - 3]
            for contents in (("s", "q", odd), ("s", odd, other, other, odd)):
                conversation = Conversation(tuple(map(Turn, ROLES, contents)))
                quick = template._render_by_pattern(conversation)
                if quick is not None:
                    assert quick[0] == template._render_fully(conversation), path.stem
                    patterns += 1
    assert patterns > 400


@settings(max_examples=40)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=5, max_size=5))
def test_random_conversations_are_written_alike(chat_tokenizer: Any, contents: list[str]) -> None:
    for text in (CHATML, body(COPIES["trimmed"]), body(COPIES["thoughts"])):
        template = JinjaTemplate(chat_tokenizer, text, "x")
        quick = template._render_by_pattern(talk(*contents))
        if quick is not None:
            assert quick[0] == template._render_fully(talk(*contents))


def test_a_pattern_that_is_disproved_changes_no_row(
    chat_tokenizer: Any,
    write_rows: Callable[..., Path],
    settings_for: Callable[..., DataSettings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_rows([chat(f"Question {number}?", f"Answer {number}.") for number in range(40)])
    wish = settings_for(path)
    wanted = prepare(wish, chat_tokenizer, None, base_folder=path.parent)
    right = RolePattern.write
    calls: list[int] = []

    def wrong(self: RolePattern, contents: Any) -> Any:
        found = right(self, contents)
        calls.append(1)
        if found is None or len(calls) < 5:
            return found
        return found[0], tuple((start + 1, end) for start, end in found[1])

    monkeypatch.setattr(RolePattern, "write", wrong)
    monkeypatch.setattr("studio.engine.data.role_pattern.FIRST_CHECKS", 0)
    monkeypatch.setattr("studio.engine.data.role_pattern.CHECK_EVERY", 20)
    found = prepare(wish, chat_tokenizer, None, base_folder=path.parent)
    assert len(calls) >= 20  # several rows were written wrongly before one was compared
    assert len(found.train) == len(wanted.train)
    for one, other in zip(found.train, wanted.train, strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        assert one.supervised.tolist() == other.supervised.tolist()
