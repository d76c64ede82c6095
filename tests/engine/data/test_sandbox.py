"""Templates of strangers: equal to transformers where they are honest, ended where they are not."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from studio.core.errors import DatasetInvalid
from studio.engine.data import clock
from studio.engine.data.clock import RenderClock
from studio.engine.data.conversation import Conversation, Turn
from studio.engine.data.sandbox import compile_template
from studio.engine.data.template import JinjaTemplate

CHAT = Conversation((Turn("user", "q"), Turn("assistant", "a")))
HONEST = [
    "{% for m in messages %}{{ m.role ~ ': ' ~ m['content'] }}\n{% endfor %}",
    "{{ messages | map(attribute='role') | join(', ') }} {{ messages[-1].content | upper }}",
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}"
    "{{ ns.n }} {{ '%05d' % ns.n }} {{ 'a' * 3 }} {{ 2 ** 3 }} {{ 7 % 4 }}",
    "{{ {'a': [1, 'ü']} | tojson }} {{ {'a': 1} | tojson(indent=2) }}",
    "{{ 'a-b-c'.split('-') | last }} {{ 'x'.join(['1', '2']) }} {{ '{:>4}'.format('r') }}",
    "{{ messages[0].missing is defined }} {{ messages[0].get('content') }} {{ messages[0]['no'] }}",
    "{% macro say(x) %}<{{ x }}>{% endmacro %}{{ say('hi') }}{{ 'abc'[::-1] }}",
    "{{ ' x '.strip().replace('x', 'long') | indent(2) }} {{ 'ab' | center(6) }}",
    "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{{ range(3) | list }}",
    "{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
    "{% generation %}{{ bos_token }}x{% endgeneration %}",
]
HOSTILE = [
    "{{ 'x' * 2000000000 }}",
    "{{ 'x'.center(2000000000) }}",
    "{{ 'x' | center(2000000000) }}",
    "{{ '%2000000000d' % 1 }}",
    "{{ '%*d' % (2000000000, 1) }}",
    "{{ '{:2000000000d}'.format(1) }}",
    "{{ '{:{}}'.format(1, 2000000000) }}",
    "{{ '%2000000000d' | format(1) }}",
    "{{ 9 ** 999999999 }}",
    "{% set n = namespace(x='xxxxxxxx') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}"
    "{% endfor %}{{ n.x }}",
    "{% set n = namespace(x='xxxxxxxx') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}"
    "{% endfor %}{{ n.x }}",
    "{% set n = namespace(x='ab') %}{% for i in range(60) %}"
    "{% set n.x = n.x.replace('a', n.x) %}{% endfor %}",
    "{% set big = 'x' * 1000000 %}{% for i in range(100000) %}{{ big }}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% else %}xxxxxxxxxxxxxxxx{% endif %}"
    "{% endmacro %}{{ m(26) }}",
    "{{ {'a': [[1], [2]]} | tojson(indent=1000000000) }}",
    "{{ ('x' * 100000) | join('y' * 100000) }}",
    "{{ 1.5 | round(1000000000) }}",
]
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize("source", HONEST)
def test_honest_templates_write_what_transformers_writes(source: str, chat_tokenizer: Any) -> None:
    messages = [turn.as_message() for turn in CHAT.turns]
    marks = {"bos_token": "<s>"}
    (expected,), _ = render_jinja_template([messages], chat_template=source, **marks)
    template = compile_template(source)
    assert template.render(messages=messages, tools=None, **marks) == expected


@pytest.mark.parametrize("source", HOSTILE)
def test_templates_that_grow_without_bound_are_ended(
    source: str, chat_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.engine.data.clock.LIMIT_SECONDS", 2.0)
    with pytest.raises(DatasetInvalid) as caught:
        JinjaTemplate(chat_tokenizer, source, "hostile").render(CHAT)
    assert caught.value.code in ("template_too_large", "template_too_slow")
    assert caught.value.remedy


def test_templates_that_never_end_are_ended_and_leave_nothing_behind(chat_tokenizer: Any) -> None:
    template = JinjaTemplate(chat_tokenizer, ENDLESS, "endless")
    template._clock = RenderClock(0.2)
    before = threading.active_count()
    for _ in range(2):
        with pytest.raises(DatasetInvalid) as caught:
            template.render(CHAT)
        assert caught.value.code == "template_too_slow"
    with template.watched(), pytest.raises(DatasetInvalid):
        template.render(CHAT)
    assert threading.active_count() == before
    assert sum(range(100_000)) == 4999950000  # no interruption arrives late


def test_the_clock_lets_ordinary_work_pass() -> None:
    with clock.RenderClock(5) as watch:
        assert [watch.run(lambda: 7) for _ in range(1000)] == [7] * 1000


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'content': 'other'}) }}",
        "{{ lipsum() }}",
        "{{ '{0.__class__}'.format(messages) }}",
    ],
)
def test_templates_reach_nothing_of_the_program(source: str, chat_tokenizer: Any) -> None:
    from studio.engine.data.answers import TemplateRefused

    try:
        text = JinjaTemplate(chat_tokenizer, source, "curious").render(CHAT).text
    except TemplateRefused:
        return
    assert "class" not in text
    assert CHAT.turns[0].content == "q"
